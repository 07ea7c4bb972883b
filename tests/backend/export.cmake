# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_export LINK telehelm_ctl telehelm_store telehelm_test_support)
