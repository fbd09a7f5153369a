#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lower layers never include higher ones, and only modules (and what is above it) knows LibTorch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

failed=0
# forbid FOLDER REGEX REASON: no #include matching REGEX below FOLDER
forbid() {
  local hits
  if hits=$(grep -rnE --include='*.hpp' --include='*.cpp' --include='*.in' \
            "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" "$1"); then
    printf '%s\n%s\n\n' "$3:" "$hits"
    failed=1
  fi
}

torch='torch/|ATen/|c10/|caffe2/'
forbid core 'slalom/(modules|workflows|cli)[./]' 'core includes a higher layer'
forbid core "$torch" 'core includes LibTorch'
forbid modules 'slalom/(workflows|cli)[./]' 'modules includes a higher layer'
forbid workflows/src/cli "$torch|slalom/modules[./]" 'slalom::cli must not need LibTorch'
forbid core/include 'Eigen/|boost/|tbb/|oneapi/|nettle/|simdjson|Random123/' 'a public header of core shows a private dependency'
forbid modules/include 'torch/torch\.h|torch/script\.h' 'a public header includes a LibTorch umbrella (use the narrowest header)'
exit "$failed"
