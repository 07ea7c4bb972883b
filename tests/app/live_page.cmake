# SPDX-License-Identifier: GPL-3.0-or-later
if(TELEHELM_APP)
  telehelm_test(tst_live_page LINK telehelm_app_pages telehelm_app_plots telehelm_app_data telehelm_app_session telehelm_app_theme Qt6::Widgets)
endif()
