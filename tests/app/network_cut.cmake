# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET telehelm_daemon AND TARGET telehelm_app_data)
  telehelm_test(tst_network_cut LINK telehelm_daemon telehelm_app_data telehelm_test_support TIMEOUT 600)
endif()
