#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: tests/run.sh [--with-torch | --without-torch] [--preset NAME] [-- CTEST_ARGUMENT...]
#
# Installs what is missing, builds with the preset `ci` (warnings are errors) and runs every test;
# the last lines are ctest's own summary. LibTorch is installed only where the sources need it (there
# is something in modules/src) or with --with-torch; --without-torch leaves slalom::modules out.
set -euo pipefail
usage() { sed -n '4,8s/^# \{0,1\}//p' "$0"; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=workflows/scripts/dependencies.sh
source "$root/workflows/scripts/dependencies.sh"

torch=auto
preset=ci
while (($#)); do
  case $1 in
    --with-torch) torch=on ;;
    --without-torch) torch=off ;;
    --preset) preset=${2:?--preset needs a name}; shift ;;
    -h|--help) usage; exit 0 ;;
    --) shift; break ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
cd "$root"

ensure build test plot
if [[ $torch == auto ]] && ! sources_need_torch "$root"; then torch=none; fi
case $torch in
  none) torch_arguments=(); note "modules has no sources yet: LibTorch is not needed" ;;
  off) torch_arguments=(-DSLALOM_WITH_TORCH=OFF) ;;
  *) ensure_torch "$root" ;;
esac

note "building in build/$preset"
cmake --preset "$preset" "${torch_arguments[@]}" >/dev/null </dev/null
cmake --build "build/$preset" --parallel "$(build_jobs)" </dev/null
note "testing"
ctest --test-dir "build/$preset" --output-on-failure --no-tests=error --parallel "$(build_jobs)" \
      "$@" </dev/null
