# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  telehelm_bench(bench_train_cpu LINK telehelm_model telehelm_optim telehelm_kernels)
endif()
