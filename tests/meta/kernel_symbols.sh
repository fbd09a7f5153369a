#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kernel_symbols.sh OBJECT...: objects compiled for x86-64-v3 define no weak symbol. The linker keeps
# one copy of an inline function for the whole program; had it been compiled with AVX2, the portable
# code would die of it on an older processor.
set -euo pipefail
command -v nm >/dev/null || { echo 'SKIPPED: no nm'; exit 77; }
failed=0 seen=0
for object in "$@"; do
  [[ $object == *_x86_64_v3.cpp* ]] || continue
  seen=1
  if hits=$(nm -C --defined-only "$object" | grep -E ' [WVu] '); then
    printf '%s defines\n%s\n' "$object" "$hits"
    failed=1
  fi
done
((seen)) || { echo 'SKIPPED: no x86-64-v3 kernels in this build'; exit 77; }
exit "$failed"
