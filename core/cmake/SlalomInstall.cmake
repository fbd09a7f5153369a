# SPDX-License-Identifier: Apache-2.0
# The CMake package: find_package(slalom COMPONENTS core|modules|cli|workflows).
include(CMakePackageConfigHelpers)

set(_slalom_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/slalom")
get_property(SLALOM_INSTALLED_COMPONENTS GLOBAL PROPERTY SLALOM_COMPONENTS)

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/core/cmake/slalomConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/slalomConfig.cmake" INSTALL_DESTINATION "${_slalom_package_dir}")
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/slalomConfigVersion.cmake"
  VERSION ${PROJECT_VERSION}
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/slalomConfig.cmake"
              "${PROJECT_BINARY_DIR}/slalomConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/core/cmake/SlalomTorchPackage.cmake"
        DESTINATION "${_slalom_package_dir}")
