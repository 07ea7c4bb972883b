# SPDX-License-Identifier: Apache-2.0
if(TARGET telehelm_store)
  telehelm_bench(bench_peers LINK telehelm_store)
endif()
