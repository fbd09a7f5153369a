# SPDX-License-Identifier: Apache-2.0

# Takes what `#if SLALOM_HAS_MODULES` guards out of a text where there are no modules.
function(slalom_without_modules variable)
  if(TARGET slalom::modules)
    return()
  endif()
  set(text "${${variable}}")
  string(FIND "${text}" "#if SLALOM_HAS_MODULES" begin)
  while(NOT begin EQUAL -1)
    string(SUBSTRING "${text}" 0 ${begin} before)
    string(SUBSTRING "${text}" ${begin} -1 rest)
    string(FIND "${rest}" "#endif" end)
    string(SUBSTRING "${rest}" ${end} -1 rest)
    string(CONCAT text "${before}" "${rest}")
    string(FIND "${text}" "#if SLALOM_HAS_MODULES" begin)
  endwhile()
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()

# slalom_add_tests(<folder> LIBRARIES <target>...)
#
# Builds slalom_test_<folder> from <folder>/test_*.cpp and registers one ctest entry
# `<folder>.<noun>` per file test_<noun>.cpp. Every test case of the file carries the tag [<noun>],
# which is how the entry finds its cases. Cases tagged [slow] are left out of it; they make up the
# entry `<folder>.<noun>.slow` (label `slow`), which only `ctest -C slow -L slow` runs.
# Libraries that this build does not have are left out (the sources may ask for SLALOM_HAS_MODULES
# and SLALOM_HAS_CLI). The ctest label is the folder's name.
function(slalom_add_tests folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBRARIES")
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/test_*.cpp)
  if(NOT sources)
    return()
  endif()
  set(target slalom_test_${folder})
  add_executable(${target} ${sources})
  foreach(library IN LISTS arg_LIBRARIES)
    if(TARGET ${library})
      target_link_libraries(${target} PRIVATE ${library})
    endif()
  endforeach()
  target_link_libraries(${target} PRIVATE slalom_test_main)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_definitions(
    ${target}
    PRIVATE SLALOM_DATA_DEFAULT="${SLALOM_DATA_DEFAULT}"
            SLALOM_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
            SLALOM_HAS_MODULES=$<TARGET_EXISTS:slalom_modules>
            SLALOM_HAS_CLI=$<TARGET_EXISTS:slalom_cli>
            $<$<BOOL:${SLALOM_HDF5_FOUND}>:SLALOM_HAVE_HDF5=1>)
  if(TARGET slalom)
    # The program under test, for those who run it as a process.
    target_compile_definitions(${target} PRIVATE SLALOM_EXECUTABLE="$<TARGET_FILE:slalom>")
    add_dependencies(${target} slalom)
  endif()
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  slalom_warnings(${target})
  set(kind plain)
  set(headers <nlohmann/json.hpp>)
  if(TARGET slalom::modules AND ("slalom::modules" IN_LIST arg_LIBRARIES
                                 OR "slalom::workflows" IN_LIST arg_LIBRARIES))
    set(kind torch)
    set(headers ${SLALOM_TORCH_HEADERS})
  endif()
  # All of a kind use those of the first; they have to have the same definitions.
  get_property(first GLOBAL PROPERTY SLALOM_TEST_HEADERS_${kind})
  if(first)
    slalom_precompile(${target} REUSE_FROM ${first})
  else()
    set_property(GLOBAL PROPERTY SLALOM_TEST_HEADERS_${kind} ${target})
    slalom_precompile(${target} PRIVATE ${headers} <algorithm> <cmath> <filesystem> <fstream>
                      <functional> <string> <vector> ${CMAKE_CURRENT_SOURCE_DIR}/support/catch.hpp)
  endif()

  # An entry whose filter finds no test must fail: Catch2 3 does so itself.
  set(strict)
  if(Catch2_VERSION VERSION_LESS 3)
    set(strict -w NoTests)
  endif()

  set_property(GLOBAL APPEND PROPERTY SLALOM_TEST_FOLDERS ${folder})
  foreach(source IN LISTS sources)
    get_filename_component(noun ${source} NAME_WE)
    string(SUBSTRING ${noun} 5 -1 noun) # without "test_", once: a regular expression does it again
    set_property(GLOBAL APPEND PROPERTY SLALOM_TEST_NOUNS_${folder} ${noun})
    file(READ ${source} whole)
    set(text "${whole}")
    slalom_without_modules(text)
    string(REGEX REPLACE "\"[^\"\n]*\\[slow\\][^\"\n]*\"" "" fast "${text}")
    if(fast MATCHES "\\[${noun}\\]" OR NOT whole MATCHES "\\[${noun}\\]")
      add_test(NAME ${folder}.${noun} COMMAND ${target} "[${noun}]~[slow]" ${strict})
      set_tests_properties(
        ${folder}.${noun} PROPERTIES LABELS ${folder} TIMEOUT 300 ENVIRONMENT OMP_NUM_THREADS=1)
    endif()
    if(NOT text STREQUAL fast)
      add_test(
        NAME ${folder}.${noun}.slow
        COMMAND ${target} "[${noun}][slow]" ${strict}
        CONFIGURATIONS slow)
      set_tests_properties(
        ${folder}.${noun}.slow PROPERTIES LABELS "${folder};slow" TIMEOUT 3600
                                          ENVIRONMENT OMP_NUM_THREADS=1)
    endif()
  endforeach()
endfunction()
