# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_corpus LINK telehelm_data)
