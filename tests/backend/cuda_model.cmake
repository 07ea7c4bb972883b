# SPDX-License-Identifier: Apache-2.0
# On a device, where there is one, and over the kernels' own sources on the host (tests/kernels/cuda.cmake).
telehelm_test(tst_cuda_model LINK telehelm_trainer_rig TIMEOUT 300)
telehelm_test(tst_cuda_ranks LINK telehelm_trainer_rig TIMEOUT 300)
target_include_directories(tst_cuda_model PRIVATE ${CMAKE_SOURCE_DIR}/tests/kernels)
if(TARGET cuda_on_host)
  add_executable(tst_cuda_model_on_host tst_cuda_model.cpp)
  set_target_properties(tst_cuda_model_on_host PROPERTIES AUTOMOC ON)
  target_include_directories(tst_cuda_model_on_host PRIVATE ${CMAKE_SOURCE_DIR}/tests/kernels)
  target_link_libraries(tst_cuda_model_on_host PRIVATE telehelm_options Qt6::Test cuda_on_host telehelm_trainer_rig)
  add_test(NAME tst_cuda_model_on_host COMMAND tst_cuda_model_on_host)
  set_tests_properties(tst_cuda_model_on_host PROPERTIES TIMEOUT 300)

  add_executable(tst_cuda_ranks_on_host tst_cuda_ranks.cpp)
  set_target_properties(tst_cuda_ranks_on_host PROPERTIES AUTOMOC ON)
  target_link_libraries(tst_cuda_ranks_on_host PRIVATE telehelm_options Qt6::Test cuda_on_host telehelm_trainer_rig)
  add_test(NAME tst_cuda_ranks_on_host COMMAND tst_cuda_ranks_on_host)
  set_tests_properties(tst_cuda_ranks_on_host PROPERTIES TIMEOUT 300)

  # Its own NCCL comes before the library's.
  add_executable(tst_cuda_mesh_on_host tst_cuda_mesh.cpp)
  set_target_properties(tst_cuda_mesh_on_host PROPERTIES AUTOMOC ON)
  target_include_directories(tst_cuda_mesh_on_host PRIVATE ${CMAKE_SOURCE_DIR}/tests/kernels/cuda_on_host)
  target_link_libraries(tst_cuda_mesh_on_host PRIVATE telehelm_options Qt6::Test cuda_on_host telehelm_trainer_rig telehelm_mesh_rig)
  add_test(NAME tst_cuda_mesh_on_host COMMAND tst_cuda_mesh_on_host)
  set_tests_properties(tst_cuda_mesh_on_host PROPERTIES TIMEOUT 300)
endif()
