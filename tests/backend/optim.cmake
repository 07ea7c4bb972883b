# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  telehelm_test(tst_optim LINK telehelm_optim telehelm_model)
  target_include_directories(tst_optim PRIVATE ${CMAKE_SOURCE_DIR}/tests/kernels)
endif()
