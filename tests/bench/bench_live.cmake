# SPDX-License-Identifier: Apache-2.0
telehelm_bench(bench_live SOURCES latency_rig.cpp LINK telehelm_ipc Threads::Threads)
