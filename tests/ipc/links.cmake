# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_convert LINK telehelm_ipc_internal)
telehelm_test(tst_control LINK telehelm_ipc LABELS ipc)
telehelm_test(tst_live LINK telehelm_ipc_internal LABELS ipc)
telehelm_test(tst_trainer_link LINK telehelm_ipc_internal LABELS ipc)
telehelm_test(tst_golden_frames LINK telehelm_ipc_internal LABELS ipc)
telehelm_bench(record_frames LINK telehelm_ipc_internal)
foreach(test record_frames tst_golden_frames tst_convert tst_live tst_trainer_link)
  target_compile_definitions(${test} PRIVATE QT_NO_EMIT) # Qt's macro would eat TrainerLink::emit
endforeach()
