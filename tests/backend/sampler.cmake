# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_sampler LINK telehelm_data)
