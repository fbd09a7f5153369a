#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: workflows/run.sh [--without-torch] [OUTPUT_FOLDER]
#
# From a fresh Debian or Ubuntu machine to a result: installs what is missing, builds `slalom`
# (release), fits the four-lepton example, trains a small experiment end to end, and leaves fits,
# plots and reports in OUTPUT_FOLDER (default: `out` in the project). The first build with LibTorch
# takes about 10 minutes on two cores; --without-torch leaves it and the training out. Running it
# again takes seconds.
set -euo pipefail
case ${1:-} in -h|--help) sed -n '4,10s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
train=yes
if [[ ${1:-} == --without-torch ]]; then train=no; shift; fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "${1:-$root/out}"
out=$(cd "${1:-$root/out}" && pwd)
# shellcheck source=workflows/scripts/dependencies.sh
source "$root/workflows/scripts/dependencies.sh"
cd "$root"

ensure build plot
note "building slalom in build/release"
torch_arguments=(-DSLALOM_WITH_TORCH=OFF)
if [[ $train == yes ]]; then ensure_torch "$root"; fi
cmake --preset release "${torch_arguments[@]}" >/dev/null </dev/null
# Fits need no LibTorch: their program is built first.
cmake --build build/release --target slalom --parallel "$(build_jobs)" </dev/null

workspace=workflows/examples/h4l/workspace.json
slalom=build/release/bin/slalom
note "CMS four-lepton data, all backgrounds fixed"
"$slalom" fit "$workspace" --minos mu </dev/null
"$slalom" discovery "$workspace" </dev/null
note "the same with the ZZ normalisation floating"
"$slalom" fit "$workspace" --measurement zz_floating --minos mu </dev/null
"$slalom" discovery "$workspace" --measurement zz_floating </dev/null

# The numbers again for programs, the pictures, and everything on one page.
texts=(--axis 'four_leptons:m_{4ℓ} [GeV]:70:181' --label hzz_mH125 'H → ZZ* → 4ℓ (125 GeV)'
       --label zz 'ZZ* → 4ℓ' --label ttbar 'tt̄' --label dy 'Z + X' --label mu 'μ'
       --title 'CMS Open Data' --note '2.3 fb^{-1} (7 TeV) + 11.6 fb^{-1} (8 TeV)')
for measurement in backgrounds_fixed zz_floating; do
  "$slalom" fit "$workspace" --measurement "$measurement" --minos mu --quiet \
    --plot "$out/h4l_$measurement.svg" "${texts[@]}" -o "$out/h4l_$measurement.json" </dev/null
done
note "the report"
"$slalom" report "$workspace" --measurement zz_floating --quiet "${texts[@]}" \
  -o "$out/h4l_report.html" </dev/null

# Network and bins, trained on sigma(mu) with the systematic uncertainty inside; see
# docs/experiments.md.
training=$out/wunsch
if [[ $train == yes ]]; then
  note "building what trains (LibTorch)"
  cmake --build build/release --target slalom_train --parallel "$(build_jobs)" </dev/null
  note "an experiment: Wunsch's toy, from the events to the profile fit"
  rm -rf "$training"
  "$slalom" run workflows/experiments/wunsch.json -d "$training" </dev/null
  "$slalom" fit "$training/workspace.json" --minos mu --quiet </dev/null
fi

note "results"
[[ $train == no ]] ||
  printf '    %s\n' "$training/report.html (the experiment: training, before and after, soft and hard)"
printf '    %s\n' "$out/h4l_backgrounds_fixed.json and h4l_zz_floating.json (the fits)" \
                  "$out/h4l_backgrounds_fixed.svg and h4l_zz_floating.svg (data and fitted model)" \
                  "$out/h4l_report.html (everything about the second fit, for a browser)" \
                  "try also: $slalom --help"
