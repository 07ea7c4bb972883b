# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET telehelm_app_window)
  telehelm_test(tst_run_metrics LINK telehelm_app_models LABELS app)
  telehelm_test(tst_main_window LINK telehelm_app_window LABELS app)
endif()
