# SPDX-License-Identifier: GPL-3.0-or-later
if(TELEHELM_APP)
  telehelm_test(tst_plots LINK telehelm_app_plots telehelm_app_theme Qt6::Widgets)
endif()
