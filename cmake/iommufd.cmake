# Helpers that keep the lists of the tree in one place.

set(IOMMUFD_CXX_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wundef -Werror
    $<$<CXX_COMPILER_ID:GNU>:-Wlogical-op;-Wduplicated-cond;-Wuseless-cast>
    $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety;-Wthread-safety-beta;-Wno-gnu-statement-expression;-Wno-gnu-statement-expression-from-macro-expansion>)
set(IOMMUFD_C_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror)

find_program(IOMMUFD_CCACHE ccache)
if(IOMMUFD_CCACHE)
  # The two kinds of sloppiness are what ccache asks for before it caches users of a precompiled header.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${IOMMUFD_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

if(IOMMUFD_LOCK_CHECK)
  add_compile_definitions(IOMMUFD_LOCK_CHECK)
endif()
if(IOMMUFD_SANITIZE)
  add_compile_options(-fsanitize=${IOMMUFD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${IOMMUFD_SANITIZE})
endif()
if(IOMMUFD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

function(iommufd_warnings target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:${IOMMUFD_CXX_WARNINGS}> $<$<COMPILE_LANGUAGE:C>:${IOMMUFD_C_WARNINGS}>)
endfunction()

# iommufd_library(NAME [DEPS folder...] [LINK target...]): the static library of src/NAME. Its include path is a
# directory that holds nothing but a link to src/NAME, so "a folder includes only what it names" is enforced by the build.
function(iommufd_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;LINK" ${ARGN})
  set(view ${CMAKE_BINARY_DIR}/view/${name})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/${name} ${view}/${name} SYMBOLIC)
  list(TRANSFORM ARG_DEPS PREPEND iommufd_)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  if(sources)
    add_library(iommufd_${name} STATIC ${sources})
    target_include_directories(iommufd_${name} PUBLIC ${view})
    target_link_libraries(iommufd_${name} PUBLIC ${ARG_DEPS} ${ARG_LINK})
    iommufd_warnings(iommufd_${name})
  else()
    add_library(iommufd_${name} INTERFACE)
    target_include_directories(iommufd_${name} INTERFACE ${view})
    target_link_libraries(iommufd_${name} INTERFACE ${ARG_DEPS} ${ARG_LINK})
  endif()
endfunction()

# The precompiled header of all GoogleTest programs, built once.
function(iommufd_gtest_pch)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/gtest_pch.cpp CONTENT "// Carries the precompiled header of the tests.\n")
  add_library(iommufd_gtest_pch OBJECT ${CMAKE_BINARY_DIR}/gtest_pch.cpp)
  target_link_libraries(iommufd_gtest_pch PUBLIC GTest::gmock GTest::gtest_main Threads::Threads)
  target_compile_options(iommufd_gtest_pch PUBLIC $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  target_precompile_headers(iommufd_gtest_pch PRIVATE <gtest/gtest.h> <gmock/gmock.h>)
endfunction()

# iommufd_gtest(LABEL FOLDER DEPS folder...): one GoogleTest program of tests/LABEL/FOLDER/*.cpp.
function(iommufd_gtest label folder)
  cmake_parse_arguments(ARG "" "" "DEPS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${label}/${folder}/*.cpp)
  if(NOT sources)
    return()
  endif()
  set(target ${label}_${folder})
  list(TRANSFORM ARG_DEPS PREPEND iommufd_)
  add_executable(${target} ${sources})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE ${ARG_DEPS} ${ARG_LINK} iommufd_gtest_pch)
  target_precompile_headers(${target} REUSE_FROM iommufd_gtest_pch)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Werror $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
  add_test(NAME ${target} COMMAND ${target})
  set_tests_properties(${target} PROPERTIES LABELS ${label} TIMEOUT 300)
endfunction()
