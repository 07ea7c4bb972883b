# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_layering LINK telehelm_options LABELS fast)
set(telehelm_programs telehelm telehelmd telehelmctl telehelm-rank telehelm-data)
foreach(program ${telehelm_programs})
  if(TARGET ${program})
    add_dependencies(tst_layering ${program})
  endif()
endforeach()
