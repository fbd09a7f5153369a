#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tags.sh TEST_BINARY NOUN...: no test case without one of the tags [NOUN], by which ctest runs it.
set -euo pipefail
binary=$1
shift
filter=
for noun in "$@"; do filter+="~[$noun]"; done
# Catch2 2 and 3 differ in their options for machines; both print test cases indented by two blanks.
# (Catch2 2 returns the number of cases.)
listing=$("$binary" --list-tests "$filter" || true)
missed=$(grep -E '^  [^ ]' <<<"$listing" || true)
if [[ -n $missed ]]; then
  printf 'never run by ctest, for want of the tag [<noun of the file>]:\n%s\n' "$missed"
  exit 1
fi
