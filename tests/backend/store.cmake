# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_store LINK telehelm_store)
telehelm_test(tst_store_check LINK telehelm_store)
telehelm_test(tst_store_delete LINK telehelm_store)
telehelm_test(tst_store_names LINK telehelm_store)
telehelm_test(tst_store_property LINK telehelm_store)
