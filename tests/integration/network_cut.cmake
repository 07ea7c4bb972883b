# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND AND TELEHELM_APP)
  telehelm_test(tst_network_cut LINK telehelm_daemon telehelm_app_data telehelm_test_support TIMEOUT 600)
endif()
