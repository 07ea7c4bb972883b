# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  telehelm_test(tst_wrong_uses SOURCES program_rig.cpp LINK telehelm_ipc telehelm_data telehelm_supervise TIMEOUT 300)
  telehelm_test(tst_stops SOURCES program_rig.cpp LINK telehelm_ipc telehelm_data telehelm_supervise TIMEOUT 300)
  add_dependencies(tst_stops telehelmd telehelm-rank telehelmctl)
  add_dependencies(tst_wrong_uses telehelmd telehelm-rank telehelmctl telehelm-data)
endif()
