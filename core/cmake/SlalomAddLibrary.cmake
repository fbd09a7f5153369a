# SPDX-License-Identifier: Apache-2.0

# slalom_add_library(<component>
#   SOURCES <file>... [INCLUDE_DIR <dir>] [PUBLIC <lib>...] [PRIVATE <lib>...] [HEADER_ONLY <lib>...])
#
# Creates the target slalom_<component> with the alias slalom::<component>, the project's warnings,
# its place in the package, and the installation of its headers (INCLUDE_DIR, default `include`).
# PUBLIC and PRIVATE are link libraries as in target_link_libraries; HEADER_ONLY libraries are
# private ones that leave no trace in the installed package, so that a consumer need not have them.
function(slalom_add_library component)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "INCLUDE_DIR" "SOURCES;PUBLIC;PRIVATE;HEADER_ONLY")
  if(NOT arg_INCLUDE_DIR)
    set(arg_INCLUDE_DIR include)
  endif()
  set(target slalom_${component})
  add_library(${target} ${arg_SOURCES})
  add_library(slalom::${component} ALIAS ${target})
  set_target_properties(
    ${target}
    PROPERTIES EXPORT_NAME ${component}
               CXX_EXTENSIONS OFF
               POSITION_INDEPENDENT_CODE ON)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(
    ${target}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/${arg_INCLUDE_DIR}>
           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_link_libraries(
    ${target}
    PUBLIC ${arg_PUBLIC}
    PRIVATE ${arg_PRIVATE})
  foreach(lib IN LISTS arg_HEADER_ONLY)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:${lib}>)
  endforeach()
  slalom_warnings(${target})
  set_property(GLOBAL APPEND PROPERTY SLALOM_COMPONENTS ${component})
  if(SLALOM_INSTALL)
    install(
      TARGETS ${target}
      EXPORT slalom_${component}_targets
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
      LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
      RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    # One export file per component: a consumer of core alone must not have to find what another
    # component links.
    install(
      EXPORT slalom_${component}_targets
      NAMESPACE slalom::
      FILE slalomTargets-${component}.cmake
      DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/slalom)
    if(IS_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/${arg_INCLUDE_DIR}")
      install(
        DIRECTORY ${arg_INCLUDE_DIR}/
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING
        PATTERN "*.hpp")
    endif()
  endif()
endfunction()

# slalom_precompile(<target> PRIVATE <header>... | REUSE_FROM <target>)
#
# Large headers of others are read once for the target, not once for each of its files: that is most of
# the time of compiling them. Not with clang-tidy, which has to see what a file includes itself.
function(slalom_precompile target)
  if(NOT SLALOM_PRECOMPILE OR CMAKE_CXX_CLANG_TIDY)
    return()
  endif()
  target_precompile_headers(${target} ${ARGN})
  # gcc 12 takes the standard library's own copies for overflows (gcc.gnu.org/PR105651); precompiled,
  # its headers no longer count as the system's.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-stringop-overflow -Wno-array-bounds)
  endif()
endfunction()

# What files include that use LibTorch.
set(SLALOM_TORCH_HEADERS
    <algorithm>
    <functional>
    <memory>
    <string>
    <vector>
    <nlohmann/json.hpp>
    <torch/nn/module.h>
    <torch/nn/pimpl.h>
    <torch/csrc/autograd/custom_function.h>
    <ATen/TensorOperators.h>)

# slalom_add_program(<name> SOURCES <file>... LIBRARIES <lib>...)
#
# A program in <build>/bin, installed with a run path that finds LibTorch where this build found it if
# (and only if) the program links slalom::modules.
function(slalom_add_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES})
  set_target_properties(${name} PROPERTIES CXX_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY
                                                              "${PROJECT_BINARY_DIR}/bin")
  set(rpath "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  if("slalom::modules" IN_LIST arg_LIBRARIES OR "slalom::workflows" IN_LIST arg_LIBRARIES)
    get_filename_component(torch_lib "${Torch_DIR}/../../../lib" ABSOLUTE)
    if(EXISTS "${torch_lib}/libtorch_cpu.so" AND NOT torch_lib MATCHES "^/usr/")
      list(APPEND rpath "${torch_lib}")
    endif()
  endif()
  set_target_properties(${name} PROPERTIES INSTALL_RPATH "${rpath}")
  slalom_warnings(${name})
  if(SLALOM_INSTALL)
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endfunction()
