# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_mesh LINK telehelm_parallel)
telehelm_test(tst_comm LINK telehelm_comm telehelm_test_support)
