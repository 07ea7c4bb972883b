# SPDX-License-Identifier: Apache-2.0
# The device's kernels twice: on the device, where there is one, and as the same sources on the host, thread by thread.
set(cuda_tests tst_cuda_products tst_cuda_rows tst_cuda_vocabulary)
if(TELEHELM_BACKEND)
  foreach(test ${cuda_tests})
    telehelm_test(${test} LINK telehelm_kernels_cuda)
  endforeach()
endif()
if(TELEHELM_BACKEND AND NOT TELEHELM_SANITIZE) # sanitizers don't follow fibers
  set(cuda ${CMAKE_SOURCE_DIR}/kernels/cuda)
  set(kernel_sources attention_mma attention_wgmma cross_entropy elementwise embedding optimizer rms_norm)
  list(TRANSFORM kernel_sources REPLACE "(.+)" "${cuda}/\\1.cu")
  set_source_files_properties(${kernel_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-Wno-unknown-pragmas;-Wno-pedantic")
  add_library(cuda_on_host OBJECT ${kernel_sources} ${cuda}/attention.cpp ${cuda}/no_cudnn.cpp
    cuda_on_host/device.cpp cuda_on_host/fibers.cpp cuda_on_host/gemm.cpp cuda_on_host/hopper.cpp cuda_on_host/runtime.cpp)
  target_include_directories(cuda_on_host PRIVATE cuda_on_host ${cuda})
  target_link_libraries(cuda_on_host PRIVATE telehelm_options telehelm_kernels)

  # The objects' symbols come first, so nothing of telehelm_kernels_cuda is taken.
  foreach(test ${cuda_tests})
    add_executable(${test}_on_host ${test}.cpp)
    set_target_properties(${test}_on_host PROPERTIES AUTOMOC ON)
    target_link_libraries(${test}_on_host PRIVATE telehelm_options Qt6::Test cuda_on_host telehelm_kernels)
    add_test(NAME ${test}_on_host COMMAND ${test}_on_host)
    set_tests_properties(${test}_on_host PROPERTIES TIMEOUT 120)
  endforeach()

  add_executable(tst_streams_on_host tst_streams_on_host.cpp)
  set_target_properties(tst_streams_on_host PROPERTIES AUTOMOC ON)
  target_include_directories(tst_streams_on_host PRIVATE cuda_on_host)
  target_link_libraries(tst_streams_on_host PRIVATE telehelm_options Qt6::Test cuda_on_host telehelm_kernels)
  add_test(NAME tst_streams_on_host COMMAND tst_streams_on_host)
endif()
