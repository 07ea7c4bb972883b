# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_rank_report LINK telehelm_trainer_rig)
