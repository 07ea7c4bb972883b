# SPDX-License-Identifier: GPL-3.0-or-later
if(TELEHELM_APP)
  telehelm_test(tst_curves LINK telehelm_app_data telehelm_app_session)
endif()
