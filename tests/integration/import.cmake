# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  telehelm_test(tst_import SOURCES program_rig.cpp LINK telehelm_ipc telehelm_data telehelm_supervise telehelm_test_support TIMEOUT 300)
  target_compile_definitions(tst_import PRIVATE QT_NO_EMIT) # Qt's macro would eat TrainerLink::emit
  add_dependencies(tst_import telehelmd telehelm-rank telehelmctl)
endif()
