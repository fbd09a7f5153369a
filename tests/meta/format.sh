#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sources are formatted as .clang-format says. Versions of clang-format disagree with each other:
# version 14 decides, others are skipped. `tests/meta/format.sh --fix` formats in place.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
program=$(command -v clang-format-14 || command -v clang-format || true)
[[ -n $program ]] || { echo 'SKIPPED: no clang-format'; exit 77; }
if ! "$program" --version | grep -q 'version 14\.'; then
  echo "SKIPPED: $("$program" --version), the project is formatted with version 14"
  exit 77
fi
mapfile -t sources < <(find core modules workflows tests -name '*.hpp' -o -name '*.cpp' | sort)
if [[ ${1:-} == --fix ]]; then
  "$program" -i "${sources[@]}"
else
  "$program" --dry-run -Werror "${sources[@]}"
fi
