# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  foreach(subject kernels kernel_gradients kernel_team)
    telehelm_test(tst_${subject} LINK telehelm_kernels)
  endforeach()
endif()
