# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_ctl LINK telehelm_ctl)
