# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_parallel_train LINK telehelm_train TIMEOUT 240)
