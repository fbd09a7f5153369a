#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every source says its licence; no text carries a path of somebody's machine, tabs, trailing blanks
# or the marks of an unfinished merge; links between the documents lead somewhere; the citation is of
# this version.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

failed=0
complain() { printf '%s:\n%s\n\n' "$1" "$2"; failed=1; }

mapfile -t sources < <(find core modules workflows tests docs -type f \
  \( -name '*.hpp' -o -name '*.cpp' -o -name '*.cmake' -o -name '*.in' -o -name '*.sh' \
     -o -name CMakeLists.txt \) | sort)
hits=$(grep -L 'SPDX-License-Identifier: Apache-2.0' "${sources[@]}" CMakeLists.txt || true)
[[ -z $hits ]] || complain 'no SPDX line' "$hits"

mapfile -t texts < <(printf '%s\n' "${sources[@]}" CMakeLists.txt CMakePresets.json
                     find . -maxdepth 1 -name '*.md'; find docs -name '*.md')
home='(^|[^[:alnum:]._/-])/(work|root|home|Users)/'
hits=$(grep -nE "$home" "${texts[@]}" | grep -v '^tests/meta/texts.sh:' || true)
[[ -z $hits ]] || complain 'a path of one machine' "$hits"
hits=$(grep -nE '^(<<<<<<< |>>>>>>> |=======$)' "${texts[@]}" || true)
[[ -z $hits ]] || complain 'marks of an unfinished merge' "$hits"
hits=$(grep -nP '\t|[ ]+$' "${sources[@]}" || true)
[[ -z $hits ]] || complain 'tabs or trailing blanks' "$hits"

# [text](target): relative targets exist
while IFS=: read -r file target; do
  target=${target%%#*}
  [[ -z $target || -e $(dirname "$file")/$target ]] || complain "broken link in $file" "$target"
done < <(grep -oHE '\]\([^)[:space:]]+\)' ./*.md $(find docs -name '*.md') |
         grep -vE '\]\((https?|mailto):' | sed -E 's/:\]\(/:/; s/\)$//')

version=$(sed -nE 's/^  VERSION ([0-9.]+)$/\1/p' CMakeLists.txt)
grep -qx "version: ${version:?not in CMakeLists.txt}" CITATION.cff ||
  complain 'CITATION.cff is of another version' "$(grep '^version' CITATION.cff)"
exit "$failed"
