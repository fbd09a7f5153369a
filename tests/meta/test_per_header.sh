#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every public header has a test file of its name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

failed=0
for component in core modules workflows; do
  folder=$component/include/slalom/$component
  [[ -d $folder ]] || continue
  while IFS= read -r header; do
    noun=$(basename "$header" .hpp)
    # Those of slalom::workflows that need LibTorch are tested in a folder of their own.
    if [[ ! -f tests/$component/test_$noun.cpp ]] &&
       [[ $component != workflows || ! -f tests/experiments/test_$noun.cpp ]]; then
      echo "$header has no tests/$component/test_$noun.cpp"
      failed=1
    fi
  done < <(find "$folder" -maxdepth 1 -name '*.hpp' | sort)
done
exit "$failed"
