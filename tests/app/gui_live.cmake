# SPDX-License-Identifier: GPL-3.0-or-later
# Needs both halves: the window, and a daemon with a trainer to steer.
if(TARGET telehelm_app_window AND TARGET telehelm_data AND TARGET telehelmd AND TARGET telehelm-rank)
  telehelm_test(tst_gui_live LINK telehelm_app_window telehelm_data TIMEOUT 400 LABELS "app;integration")
  # Qt's "emit" would swallow members of that name in backend headers.
  target_compile_definitions(tst_gui_live PRIVATE QT_NO_EMIT)
  add_dependencies(tst_gui_live telehelmd telehelm-rank)
endif()
