# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET telehelm_app_pages)
  telehelm_test(tst_steer_models LINK telehelm_app_pages SOURCES scripted_run.cpp LABELS app)
  telehelm_test(tst_steer_dialogs LINK telehelm_app_pages SOURCES scripted_run.cpp LABELS app)
endif()
