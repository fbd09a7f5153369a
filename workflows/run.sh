#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: workflows/run.sh [OUTPUT_FOLDER]
#
# From a fresh Debian or Ubuntu machine to a result: installs what is missing, builds `slalom`
# (release), fits the four-lepton example and leaves the fit and a plot in OUTPUT_FOLDER (default:
# `out` in the project). Running it again takes a second.
set -euo pipefail
case ${1:-} in -h|--help) sed -n '4,8s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "${1:-$root/out}"
out=$(cd "${1:-$root/out}" && pwd)
# shellcheck source=workflows/scripts/dependencies.sh
source "$root/workflows/scripts/dependencies.sh"
cd "$root"

ensure build plot
note "building slalom in build/release"
# The example needs no LibTorch, so it is neither installed nor looked for.
cmake --preset release -DSLALOM_WITH_TORCH=OFF >/dev/null </dev/null
cmake --build build/release --target slalom --parallel "$(build_jobs)" </dev/null

workspace=workflows/examples/h4l/workspace.json
note "slalom fit $workspace --plot $out/h4l.svg -o $out/h4l_fit.json"
build/release/bin/slalom fit "$workspace" </dev/null
build/release/bin/slalom fit "$workspace" --quiet --plot "$out/h4l.svg" -o "$out/h4l_fit.json" </dev/null

note "results"
printf '    %s\n' "$out/h4l_fit.json (parameters, uncertainties, correlations)" \
                  "$out/h4l.svg (data and fitted model)" \
                  "try also: build/release/bin/slalom --help"
