# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  telehelm_bench(bench_telemetry_cost LINK telehelm_trainer_rig telehelm_store)
  add_dependencies(bench_telemetry_cost telehelmd)
endif()
