# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_daemon LINK telehelm_daemon telehelm_test_support)
telehelm_test(tst_daemon_delete LINK telehelm_daemon telehelm_test_support)
