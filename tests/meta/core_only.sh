#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# core_only.sh CMAKE SOURCE BINARY GENERATOR COMPILER: SLALOM_WITH_TORCH=OFF configures, and has not
# looked for LibTorch (find_package would have left Torch_DIR in the cache, found or not).
set -euo pipefail
rm -rf "$3"
"$1" -S "$2" -B "$3" -G "$4" -DCMAKE_CXX_COMPILER="$5" -DSLALOM_WITH_TORCH=OFF
if grep -E '^(Torch|Caffe2)_DIR' "$3/CMakeCache.txt"; then
  echo 'LibTorch was looked for'
  exit 1
fi
