# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  telehelm_bench(bench_parallel LINK telehelm_plan telehelm_trainer_rig telehelm_kernels)
  add_dependencies(bench_parallel telehelm-rank)
endif()
