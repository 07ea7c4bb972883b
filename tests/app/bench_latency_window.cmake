# SPDX-License-Identifier: GPL-3.0-or-later
# A benchmark, here for its licence: it is linked with the window. Needs telehelmd when it runs.
if(TARGET telehelm_app_window)
  telehelm_bench(bench_latency_window SOURCES ${PROJECT_SOURCE_DIR}/tests/bench/latency_rig.cpp LINK telehelm_app_window telehelm_ipc)
  target_include_directories(bench_latency_window PRIVATE ${PROJECT_SOURCE_DIR}/tests/bench)
endif()
