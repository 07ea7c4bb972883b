# SPDX-License-Identifier: Apache-2.0
# The staged adapter on a device that the test plays itself.
telehelm_test(tst_staged SOURCES device_comm_checks.cpp deferred_runtime.cpp LINK telehelm_comm_staged telehelm_test_support)
# NCCL's adapter against an NCCL and a CUDA runtime that can be made to fail: only where the real headers are.
if(TELEHELM_HAS_NCCL)
  find_package(CUDAToolkit QUIET)
  telehelm_test(tst_nccl LINK telehelm_comm_nccl)
  target_include_directories(tst_nccl PRIVATE ${TELEHELM_NCCL_INCLUDE} ${CUDAToolkit_INCLUDE_DIRS})
endif()
# Both on a real device, where there is one.
if(TARGET telehelm_kernels_cuda)
  telehelm_test(tst_device_comm SOURCES device_comm_checks.cpp LINK telehelm_comm_staged telehelm_comm_nccl telehelm_kernels_cuda)
endif()
