#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# doxygen.sh FOLDER: runs FOLDER/Doxyfile and fails on any warning, an undocumented public symbol
# for one.
set -euo pipefail
command -v doxygen >/dev/null || { echo 'SKIPPED: no doxygen'; exit 77; }
doxygen "$1/Doxyfile" >/dev/null
if [[ -s $1/warnings.txt ]]; then
  cat "$1/warnings.txt"
  exit 1
fi
