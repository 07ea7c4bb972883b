# SPDX-License-Identifier: Apache-2.0
# All of them say in one line where there is no device.
if(TELEHELM_BACKEND AND TARGET telehelm_kernels_cuda)
  add_library(telehelm_cuda_bench STATIC cuda_bench.cpp)
  target_link_libraries(telehelm_cuda_bench PUBLIC telehelm_kernels_cuda PRIVATE telehelm_options telehelm_train)
  telehelm_bench(bench_kernels_cuda LINK telehelm_cuda_bench)
  telehelm_bench(bench_nccl LINK telehelm_cuda_bench telehelm_comm_nccl)
  telehelm_bench(bench_train_cuda LINK telehelm_cuda_bench telehelm_model telehelm_comm_staged)
endif()
