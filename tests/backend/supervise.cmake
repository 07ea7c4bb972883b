# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_supervise LINK telehelm_supervise)
