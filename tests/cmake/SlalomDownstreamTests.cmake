# SPDX-License-Identifier: Apache-2.0
# slalom as users see it: installed into a stage, then consumed by projects of their own.

set(_stage "${PROJECT_BINARY_DIR}/stage")

add_test(NAME downstream.stage COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix
                                       ${_stage} --config $<CONFIG>)
set_tests_properties(
  downstream.stage PROPERTIES FIXTURES_SETUP stage LABELS downstream RESOURCE_LOCK build_tree)

set(_downstream_flags)
if(SLALOM_SANITIZE)
  set(_downstream_flags "-DCMAKE_CXX_FLAGS=-fsanitize=${SLALOM_SANITIZE}")
endif()

# slalom_add_downstream_test(<name> <folder> [<configure option>...])
function(slalom_add_downstream_test name folder)
  add_test(
    NAME downstream.${name}
    COMMAND
      ${CMAKE_CTEST_COMMAND} --build-and-test ${CMAKE_CURRENT_SOURCE_DIR}/downstream/${folder}
      ${CMAKE_CURRENT_BINARY_DIR}/downstream/${name} --build-generator ${CMAKE_GENERATOR}
      --build-options -DCMAKE_PREFIX_PATH=${_stage} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
      -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE} ${_downstream_flags} ${ARGN} --test-command
      ${CMAKE_CTEST_COMMAND} --output-on-failure --no-tests=error)
  set_tests_properties(
    downstream.${name} PROPERTIES FIXTURES_REQUIRED stage LABELS downstream TIMEOUT 600)
endfunction()

# With Eigen and LibTorch hidden: a program that only fits need not have them.
slalom_add_downstream_test(core core -DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON
                           -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON)
if(TARGET slalom::modules AND EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/downstream/modules")
  slalom_add_downstream_test(modules modules -DTorch_DIR=${Torch_DIR})
endif()
