# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_schedule LINK telehelm_plan)
