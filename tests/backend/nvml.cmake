# SPDX-License-Identifier: Apache-2.0
add_library(fake_nvml MODULE fake_nvml.cpp)
set_target_properties(fake_nvml PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
telehelm_test(tst_nvml LINK telehelm_trainer_rig ${CMAKE_DL_LIBS})
add_dependencies(tst_nvml fake_nvml)
