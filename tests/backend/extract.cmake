# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_extract LINK telehelm_data ZLIB::ZLIB)
telehelm_test(tst_demo_corpus LINK telehelm_data telehelm_config)
