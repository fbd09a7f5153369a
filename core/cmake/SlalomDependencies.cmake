# SPDX-License-Identifier: Apache-2.0
# Every library that slalom links, found in one place: the scope of the project's own directory, so
# that all of it sees the imported targets. docs/rationale.md says why each of them is there.

if(NOT PROJECT_IS_TOP_LEVEL)
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)  # the including project links our targets, and theirs
endif()

# core
find_package(Eigen3 3.3 REQUIRED NO_MODULE)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(Boost 1.70 REQUIRED CONFIG)
find_package(TBB REQUIRED CONFIG)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(NETTLE REQUIRED IMPORTED_TARGET nettle)
find_package(simdjson REQUIRED CONFIG)
find_path(SLALOM_RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)
mark_as_advanced(SLALOM_RANDOM123_INCLUDE_DIR)

# workflows
if(SLALOM_BUILD_APPS)
  find_package(CLI11 2.1 REQUIRED)
  find_package(fmt 8 REQUIRED)
endif()

# slalom_find_hdf5(): event files in HDF5, an option of modules. Found by pkg-config, like nettle: CMake's
# own module asks for the C language and for a compiler wrapper.
set(SLALOM_HDF5_FOUND OFF)
set(SLALOM_HDF5_LIBRARY "")
macro(slalom_find_hdf5)
  if(SLALOM_WITH_HDF5)
    pkg_check_modules(HDF5 QUIET IMPORTED_TARGET hdf5)
    if(TARGET PkgConfig::HDF5)
      set(SLALOM_HDF5_FOUND ON)
      set(SLALOM_HDF5_LIBRARY PkgConfig::HDF5)
      message(STATUS "slalom: HDF5 ${HDF5_VERSION}")
    elseif(SLALOM_WITH_HDF5 STREQUAL "AUTO")
      message(STATUS "slalom: without event files in HDF5, pkg-config does not know hdf5")
    else()
      message(FATAL_ERROR "SLALOM_WITH_HDF5=${SLALOM_WITH_HDF5}, but pkg-config does not know hdf5. "
                          "Install it (Debian: libhdf5-dev), set PKG_CONFIG_PATH, or configure with "
                          "-DSLALOM_WITH_HDF5=OFF.")
    endif()
  endif()
endmacro()

# modules: LibTorch, only where there is something to build with it
set(SLALOM_TORCH_FOUND OFF)
file(GLOB_RECURSE _slalom_modules_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/modules/src/*.cpp")
if(NOT _slalom_modules_sources)
  message(STATUS "slalom: modules has no sources yet, LibTorch is not looked for")
elseif(NOT SLALOM_WITH_TORCH)
  message(STATUS "slalom: without modules (SLALOM_WITH_TORCH=${SLALOM_WITH_TORCH})")
else()
  include(SlalomTorchPackage)
  slalom_find_torch_package()
  if(Torch_FOUND)
    set(SLALOM_TORCH_FOUND ON)
    find_package(ZLIB REQUIRED)  # event files
    slalom_find_hdf5()
    message(STATUS "slalom: LibTorch ${Torch_VERSION} in ${Torch_DIR}")
  elseif(SLALOM_WITH_TORCH STREQUAL "AUTO")
    message(STATUS "slalom: without modules, LibTorch >= 1.13 was not found")
  else()
    message(
      FATAL_ERROR
        "SLALOM_WITH_TORCH=${SLALOM_WITH_TORCH}, but LibTorch >= 1.13 was not found. Set "
        "CMAKE_PREFIX_PATH or Torch_DIR, activate a Python that has torch, install the system's "
        "package (Debian: libtorch-dev), or configure with -DSLALOM_WITH_TORCH=OFF.")
  endif()
endif()
