# SPDX-License-Identifier: Apache-2.0
if(TELEHELM_BACKEND)
  telehelm_test(tst_store_crash SOURCES crash_rig.cpp crash_feeder.cpp LINK telehelm_ipc telehelm_store TIMEOUT 300)
  telehelm_test(tst_store_trouble SOURCES crash_rig.cpp crash_feeder.cpp program_rig.cpp LINK telehelm_ipc telehelm_store telehelm_data
                TIMEOUT 300)
  foreach(test tst_store_crash tst_store_trouble)
    target_compile_definitions(${test} PRIVATE QT_NO_EMIT) # Qt's macro would eat TrainerLink::emit
    add_dependencies(${test} telehelmd)
  endforeach()
endif()
