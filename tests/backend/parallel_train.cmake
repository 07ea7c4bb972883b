# SPDX-License-Identifier: Apache-2.0
add_library(telehelm_mesh_rig STATIC mesh_rig.cpp)
target_include_directories(telehelm_mesh_rig PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(telehelm_mesh_rig PUBLIC telehelm_train PRIVATE telehelm_options)

telehelm_test(tst_parallel_train LINK telehelm_mesh_rig TIMEOUT 300)
telehelm_test(tst_engine_gradients LINK telehelm_mesh_rig)
