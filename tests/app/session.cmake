# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET telehelm_app_session)
  telehelm_test(tst_session LINK telehelm_app_session LABELS app)
endif()
