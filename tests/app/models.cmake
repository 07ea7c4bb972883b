# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET telehelm_app_models)
  telehelm_test(tst_live_models LINK telehelm_app_models LABELS app)
endif()
