# SPDX-License-Identifier: Apache-2.0
add_library(telehelm_trainer_rig STATIC trainer_rig.cpp)
target_include_directories(telehelm_trainer_rig PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(telehelm_trainer_rig PUBLIC telehelm_train PRIVATE telehelm_options)
# Qt's “emit” would swallow TrainerLink::emit.
target_compile_definitions(telehelm_trainer_rig PUBLIC QT_NO_EMIT)

telehelm_test(tst_train_commands LINK telehelm_trainer_rig)
telehelm_test(tst_checkpoint LINK telehelm_trainer_rig)
telehelm_test(tst_train_step LINK telehelm_trainer_rig)
telehelm_test(tst_faults LINK telehelm_trainer_rig)
telehelm_test(tst_train_ranks LINK telehelm_trainer_rig TIMEOUT 240)
add_dependencies(tst_train_ranks telehelm-rank)
telehelm_test(tst_train_link LINK telehelm_trainer_rig)
add_dependencies(tst_train_link telehelm-rank)
telehelm_test(tst_hugging_face LINK telehelm_trainer_rig telehelm_exchange)
add_dependencies(tst_hugging_face telehelm-rank)
telehelm_test(tst_oracle LINK telehelm_trainer_rig telehelm_exchange)
