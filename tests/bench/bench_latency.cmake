# SPDX-License-Identifier: Apache-2.0
# The window's part of the way: tests/app/bench_latency_window.cpp
telehelm_bench(bench_latency SOURCES latency_rig.cpp LINK telehelm_ipc)
