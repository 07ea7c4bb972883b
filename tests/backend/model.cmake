# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  foreach(subject model model_layout parallel_gradients)
    telehelm_test(tst_${subject} LINK telehelm_model)
    target_include_directories(tst_${subject} PRIVATE ${CMAKE_SOURCE_DIR}/tests/kernels)
  endforeach()
endif()
