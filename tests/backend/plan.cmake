# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_plan LINK telehelm_plan telehelm_ctl telehelm_model)
