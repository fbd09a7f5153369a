# SPDX-License-Identifier: Apache-2.0
# Build type, warnings, sanitizers, compiler cache. Everything here acts on slalom's own targets,
# never on those of a project that includes or consumes slalom.

if(PROJECT_IS_TOP_LEVEL)
  get_property(_slalom_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT _slalom_multi_config AND NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

if(SLALOM_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(SLALOM_CCACHE_PROGRAM ccache)
  mark_as_advanced(SLALOM_CCACHE_PROGRAM)
  if(SLALOM_CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${SLALOM_CCACHE_PROGRAM}")
  endif()
endif()

if(SLALOM_SANITIZE)
  # Directory scope on purpose: a program in which only some objects are instrumented is unsound.
  add_compile_options(-fsanitize=${SLALOM_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SLALOM_SANITIZE})
endif()

# slalom_warnings(target): the project's warnings, private to the target.
function(slalom_warnings target)
  if(MSVC)
    target_compile_options(${target} PRIVATE /W4 $<$<BOOL:${SLALOM_WERROR}>:/WX>)
    return()
  endif()
  target_compile_options(
    ${target}
    PRIVATE -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wsign-conversion
            -Wnon-virtual-dtor
            -Woverloaded-virtual
            -Wold-style-cast
            -Wcast-align
            -Wformat=2
            -Wimplicit-fallthrough
            $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond;-Wlogical-op>
            $<$<BOOL:${SLALOM_WERROR}>:-Werror>)
  # GCC 12 is wrong about "literal" + std::string (GCC bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
endfunction()
