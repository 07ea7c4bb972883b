# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  telehelm_test(tst_end_to_end LINK telehelm_ipc telehelm_data telehelm_supervise telehelm_test_support TIMEOUT 300 SERIAL)
  add_dependencies(tst_end_to_end telehelmd telehelm-rank)
  telehelm_test(tst_recovery LINK telehelm_ipc telehelm_data telehelm_supervise telehelm_daemon telehelm_test_support TIMEOUT 300 SERIAL)
  add_dependencies(tst_recovery telehelm-rank)
endif()
