# SPDX-License-Identifier: Apache-2.0
telehelm_bench(bench_ingest LINK telehelm_store)
