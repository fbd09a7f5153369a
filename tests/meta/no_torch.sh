#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# no_torch.sh PROGRAM...: none of the programs loads LibTorch or what comes with it.
set -euo pipefail
command -v ldd >/dev/null || { echo 'SKIPPED: no ldd'; exit 77; }
failed=0
for program in "$@"; do
  libraries=$(ldd "$program")
  echo "$program: $(wc -l <<<"$libraries") shared libraries"
  if hits=$(grep -E 'libtorch|libc10|libcaffe2|libgomp|libopenblas|libmkl' <<<"$libraries"); then
    echo "$hits"
    failed=1
  fi
done
exit "$failed"
