# SPDX-License-Identifier: Apache-2.0
# How every target of Telehelm is made: one folder = one library.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(TELEHELM_CCACHE ccache)
if(TELEHELM_CCACHE)
  # Relative paths in the cache's keys: another clone at the same depth hits it too.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
                                  CCACHE_SLOPPINESS=pch_defines,time_macros ${TELEHELM_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

add_library(telehelm_options INTERFACE)
target_compile_options(telehelm_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wnon-virtual-dtor>)
# g++ 12 sees overlapping copies in "literal" + std::string where there are none (GCC bug 105329).
target_compile_options(telehelm_options INTERFACE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-restrict>)
if(TELEHELM_WERROR)
  target_compile_options(telehelm_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(TELEHELM_SANITIZE)
  target_compile_options(telehelm_options INTERFACE -fsanitize=${TELEHELM_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(telehelm_options INTERFACE -fsanitize=${TELEHELM_SANITIZE})
endif()

# Into each program, so that it starts where no toolkit is. A pack of many programs has room for one copy: there TELEHELM_SHARED
# names libraries that they share, and CUDA's runtime is another.
set(TELEHELM_CUDART CUDA::cudart_static)
if(TELEHELM_SHARED)
  set(TELEHELM_CUDART CUDA::cudart)
endif()

# telehelm_library(NAME SOURCES … PUBLIC libs… PRIVATE libs… INCLUDE dir)
function(telehelm_library name)
  cmake_parse_arguments(ARG "" "INCLUDE" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  set(type STATIC)
  if(name IN_LIST TELEHELM_SHARED)
    set(type SHARED)
  endif()
  add_library(${name} ${type} ${ARG_SOURCES})
  if(ARG_INCLUDE)
    target_include_directories(${name} PUBLIC ${ARG_INCLUDE})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE telehelm_options ${ARG_PRIVATE})
endfunction()

# telehelm_program(NAME SOURCES … LINK libs…)
function(telehelm_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE telehelm_options ${ARG_LINK})
endfunction()

# telehelm_test(tst_subject LINK libs… [SOURCES more.cpp…] [TIMEOUT s] [SERIAL] [ARGUMENTS …]): a Qt Test program from tst_subject.cpp.
function(telehelm_test name)
  cmake_parse_arguments(ARG "SERIAL" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${name}.cpp ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES AUTOMOC ON)
  target_link_libraries(${name} PRIVATE telehelm_options Qt6::Test ${ARG_LINK})
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "QT_QPA_PLATFORM=offscreen;TELEHELM_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};TELEHELM_SOURCE=${CMAKE_SOURCE_DIR};OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
  if(ARG_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

# telehelm_bench(bench_subject LINK libs…): prints one JSON object per line; not part of ctest.
function(telehelm_bench name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${name}.cpp ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE telehelm_options ${ARG_LINK})
endfunction()
