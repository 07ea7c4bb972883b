# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_engine LINK telehelm_trainer_rig telehelm_test_support)
