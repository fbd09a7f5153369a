# SPDX-License-Identifier: Apache-2.0
# How LibTorch >= 1.13 is found; sets Torch_FOUND. Order: what the user points at (Torch_DIR,
# Torch_ROOT, CMAKE_PREFIX_PATH, each as variable or in the environment); the wheel of the active
# python3; the system's package. Installed with the package too: consumers of slalom::modules find
# LibTorch by the same rules.
#
# A macro, because find_package(Torch) sets variables that the caller's directory needs.

macro(slalom_find_torch_package)
  # With several installations and only Torch_DIR given, Torch's nested look-up of Caffe2 would pick
  # another one's library under these headers, silently: keep the two together.
  if(NOT Torch_DIR AND NOT "$ENV{Torch_DIR}" STREQUAL "")
    set(Torch_DIR "$ENV{Torch_DIR}")
  endif()
  if(Torch_DIR AND NOT Caffe2_DIR AND EXISTS "${Torch_DIR}/../Caffe2/Caffe2Config.cmake")
    get_filename_component(Caffe2_DIR "${Torch_DIR}/../Caffe2" ABSOLUTE)
  endif()

  # Wheels warn about an optional library (kineto) that C++ programs do not miss.
  set(_slalom_log_level "${CMAKE_MESSAGE_LOG_LEVEL}")
  set(CMAKE_MESSAGE_LOG_LEVEL ERROR)

  # 1. What the user points at. The system's paths are left out, or /usr/bin on PATH would win here.
  find_package(Torch 1.13 QUIET CONFIG NO_SYSTEM_ENVIRONMENT_PATH NO_CMAKE_SYSTEM_PATH
               NO_CMAKE_PACKAGE_REGISTRY NO_CMAKE_SYSTEM_PACKAGE_REGISTRY)

  # 2. The wheel of the active python3. Nothing is imported: finding the package is enough.
  if(NOT Torch_FOUND)
    find_program(SLALOM_PYTHON3 python3)
    mark_as_advanced(SLALOM_PYTHON3)
    if(SLALOM_PYTHON3)
      execute_process(
        COMMAND
          "${SLALOM_PYTHON3}" -c
          "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE _slalom_torch_root
        OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      if(_slalom_torch_root AND EXISTS "${_slalom_torch_root}/share/cmake/Torch/TorchConfig.cmake")
        set(Torch_DIR "${_slalom_torch_root}/share/cmake/Torch")
        if(EXISTS "${_slalom_torch_root}/share/cmake/Caffe2/Caffe2Config.cmake")
          set(Caffe2_DIR "${_slalom_torch_root}/share/cmake/Caffe2")
        endif()
        find_package(Torch 1.13 QUIET CONFIG)
      endif()
    endif()
  endif()

  # 3. The system's.
  if(NOT Torch_FOUND)
    unset(Torch_DIR CACHE)
    unset(Torch_DIR)
    find_package(Torch 1.13 QUIET CONFIG)
  endif()
  set(CMAKE_MESSAGE_LOG_LEVEL "${_slalom_log_level}")
endmacro()
