# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_device_comm LINK telehelm_comm_device)
# Against an NCCL and a CUDA runtime of its own, which can be made to fail: only where the real headers are.
if(TELEHELM_HAS_NCCL)
  find_package(CUDAToolkit QUIET)
  telehelm_test(tst_nccl LINK telehelm_comm_device)
  target_include_directories(tst_nccl PRIVATE ${TELEHELM_NCCL_INCLUDE} ${CUDAToolkit_INCLUDE_DIRS})
endif()
