# SPDX-License-Identifier: Apache-2.0
telehelm_bench(bench_latency LINK telehelm_ipc)
