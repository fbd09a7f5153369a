# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by workflows/run.sh and tests/run.sh: installs what is missing on Debian and Ubuntu, and
# says what to do elsewhere. Nothing is installed, and the package manager is not even asked, where
# everything is there already.

note() { printf '==> %s\n' "$*"; }
warn() { printf '==> warning: %s\n' "$*" >&2; }

# A command that works (a mere stub on the PATH does not count).
works() { command -v "$1" >/dev/null 2>&1 && "$1" --version >/dev/null 2>&1; }

has_package() {
  [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == 'install ok installed' ]]
}

# cmake >= 3.22 and a C++20 compiler, wherever they come from.
has_cmake() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  [[ -n $version && $(printf '%s\n' 3.22 "$version" | sort -V | head -n 1) == 3.22 ]]
}

# packages_for WHAT...: the Debian packages that WHAT (build, test, plot, venv) still lacks.
packages_for() {
  local what package
  for what in "$@"; do
    case $what in
      build)
        has_cmake || echo cmake
        works "${CXX:-c++}" || echo g++
        works ninja || echo ninja-build
        works pkg-config || echo pkg-config
        for package in libeigen3-dev nlohmann-json3-dev libsimdjson-dev libboost-dev libtbb-dev \
                       nettle-dev librandom123-dev libcli11-dev libfmt-dev zlib1g-dev libhdf5-dev; do
          has_package "$package" || echo "$package"
        done ;;
      test)
        has_package catch2 || echo catch2
        works doxygen || echo doxygen ;;
      plot)
        works gnuplot || echo gnuplot-nox ;;
      venv)
        python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || echo python3-venv ;;
      libtorch)
        for package in libtorch-dev libopenblas0-pthread; do
          has_package "$package" || echo "$package"
        done ;;
    esac
  done
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

# install_packages PACKAGE...: with apt-get, as root or through sudo.
install_packages() {
  (($#)) || return 0
  if ! command -v apt-get >/dev/null; then
    warn "no apt-get here; please install the equivalents of these Debian packages: $*"
    return 1
  fi
  if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
    warn "not root and no sudo; please run as root: apt-get install $*"
    return 1
  fi
  note "installing $*"
  local log
  log=$(mktemp)
  as_root apt-get -qq update </dev/null || warn "apt-get update failed, trying with the lists at hand"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
         -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    rm -f "$log"
    warn "apt-get install failed"
    return 1
  fi
  rm -f "$log"
}

# ensure WHAT...: see packages_for. Without dpkg there is nothing to ask; CMake will say what lacks.
ensure() {
  if ! command -v dpkg-query >/dev/null; then
    warn "not a Debian or Ubuntu system; assuming that what '$*' needs is installed"
    return 0
  fi
  local missing
  missing=$(packages_for "$@" | sort -u)
  # shellcheck disable=SC2086
  install_packages $missing
}

# Jobs for the build: SLALOM_JOBS, or one per core with 2 GB of free memory each.
build_jobs() {
  local jobs memory
  jobs=$(nproc 2>/dev/null || echo 1)
  memory=$(awk '/^MemAvailable/ {print int($2 / 2000000)}' /proc/meminfo 2>/dev/null || true)
  if [[ -n $memory && $memory -lt $jobs ]]; then jobs=$((memory > 0 ? memory : 1)); fi
  echo "${SLALOM_JOBS:-$jobs}"
}

# Whether the sources need LibTorch at all.
sources_need_torch() { [[ -n $(find "$1/modules/src" -name '*.cpp' -print -quit 2>/dev/null) ]]; }

# ---- LibTorch ------------------------------------------------------------------------------------

torch_wheel_version=2.13.0

# torch_in_prefix PREFIX: its directory with TorchConfig.cmake
torch_in_prefix() {
  [[ -n $1 && -f $1/share/cmake/Torch/TorchConfig.cmake ]] && echo "$1/share/cmake/Torch"
}

# torch_of_python PYTHON: that of the wheel it has. Finding the package is enough, nothing is loaded.
torch_of_python() {
  torch_in_prefix "$("$1" -c 'import importlib.util as u
s = u.find_spec("torch")
print(s.submodule_search_locations[0] if s else "")' 2>/dev/null)"
}

# A wheel built for CUDA asks CMake for a CUDA toolkit; without one it is of no use.
torch_is_usable() {
  [[ -n $1 ]] || return 1
  [[ ! -e $1/../../../lib/libtorch_cuda.so ]] || command -v nvcc >/dev/null
}

# find_torch ROOT: sets torch_dir to an installed LibTorch (empty for one that CMake finds by
# itself) or fails. The order is that of core/cmake/SlalomTorchPackage.cmake, plus the project's own
# environment that install_torch makes.
find_torch() {
  local prefix entry
  torch_dir=${Torch_DIR:-}
  [[ -z $torch_dir ]] || return 0
  IFS=':;' read -ra entry <<<"${CMAKE_PREFIX_PATH:-}"
  for prefix in "${Torch_ROOT:-}" "${entry[@]}"; do
    if torch_dir=$(torch_in_prefix "$prefix"); then return 0; fi
  done
  if torch_dir=$(torch_of_python python3) && torch_is_usable "$torch_dir"; then return 0; fi
  if torch_dir=$(torch_of_python "$1/.venv-torch/bin/python") && torch_is_usable "$torch_dir"; then
    return 0
  fi
  torch_dir=
  has_package libtorch-dev
}

# install_torch ROOT: a CPU wheel in ROOT/.venv-torch (1 GB; LibTorch needs none of the Python
# packages that the wheel depends on), or Debian's libtorch-dev with a BLAS that is fast.
install_torch() {
  local venv=$1/.venv-torch
  if ensure venv; then
    note "installing LibTorch $torch_wheel_version into $venv"
    if python3 -m venv "$venv" && timeout "${SLALOM_TORCH_TIMEOUT:-900}" \
         "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --retries 2 \
         --no-deps --only-binary :all: "torch==$torch_wheel_version" </dev/null &&
       torch_dir=$(torch_of_python "$venv/bin/python") && torch_is_usable "$torch_dir"; then
      return 0
    fi
    warn "no usable wheel of torch $torch_wheel_version, taking the system's LibTorch"
    rm -rf "$venv"
  fi
  torch_dir=
  ensure libtorch && has_package libtorch-dev
}

# ensure_torch ROOT: fills the array torch_arguments for cmake. Never fails: without LibTorch there is
# no slalom::modules, and the build says so.
ensure_torch() {
  torch_arguments=()
  if find_torch "$1" || install_torch "$1"; then
    [[ -z $torch_dir ]] || torch_arguments=("-DTorch_DIR=$torch_dir")
    note "LibTorch: ${torch_dir:-that of the system}"
  else
    warn "LibTorch could not be installed: slalom::modules is left out, everything else is built"
    torch_arguments=(-DSLALOM_WITH_TORCH=AUTO)
  fi
}
