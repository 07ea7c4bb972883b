# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_shard_map LINK telehelm_train)
telehelm_test(tst_reshard LINK telehelm_train)
