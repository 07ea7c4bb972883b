# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_retry LINK telehelm_daemon)
