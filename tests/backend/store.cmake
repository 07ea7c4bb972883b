# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_store LINK telehelm_store)
