#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# published_data.sh DEFAULT_FOLDER: skipped (77) where the published data are not on this machine.
set -euo pipefail
folder=${SLALOM_DATA:-$1}
if [[ ! -d $folder/workspaces ]]; then
  echo "SKIPPED: no published data in $folder; tests that read them are skipped, each saying so." \
       "Set SLALOM_DATA to a folder that has them."
  exit 77
fi
echo "published data: $folder"
