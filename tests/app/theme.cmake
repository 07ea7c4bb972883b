# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET telehelm_app_theme)
  telehelm_test(tst_theme LINK telehelm_app_theme LABELS app)
endif()
