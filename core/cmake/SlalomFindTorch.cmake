# SPDX-License-Identifier: Apache-2.0

# slalom_find_torch(<found>)
#
# Finds LibTorch >= 1.13 according to SLALOM_WITH_TORCH and sets <found>; ON makes failure fatal.
# Order: what the user points at (Torch_DIR, Torch_ROOT, CMAKE_PREFIX_PATH as variable or in the
# environment); the wheel of the active python3; the system's package. The imported target to link
# is `torch`: the variable TORCH_LIBRARIES may name libraries of another installation.
#
# A macro around a function-free body, because find_package(Torch) sets variables and targets that
# the caller's directory needs.
macro(slalom_find_torch found)
  set(${found} OFF)
  if(NOT "${SLALOM_WITH_TORCH}" MATCHES "^(AUTO|ON|OFF|TRUE|FALSE|1|0|YES|NO)$")
    message(FATAL_ERROR "SLALOM_WITH_TORCH is \"${SLALOM_WITH_TORCH}\", expected AUTO, ON or OFF")
  endif()
  if(SLALOM_WITH_TORCH)
    include(SlalomTorchPackage)
    slalom_find_torch_package()
    if(Torch_FOUND)
      set(${found} ON)
      message(STATUS "slalom: LibTorch ${Torch_VERSION} in ${Torch_DIR}")
    elseif(NOT SLALOM_WITH_TORCH STREQUAL "AUTO")
      message(
        FATAL_ERROR
          "SLALOM_WITH_TORCH=${SLALOM_WITH_TORCH}, but LibTorch >= 1.13 was not found. Set "
          "CMAKE_PREFIX_PATH or Torch_DIR, activate a Python that has torch, install the system's "
          "package (Debian: libtorch-dev), or configure with -DSLALOM_WITH_TORCH=OFF.")
    endif()
  endif()
endmacro()
