# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_config LINK telehelm_config)
