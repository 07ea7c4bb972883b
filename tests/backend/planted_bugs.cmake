# SPDX-License-Identifier: Apache-2.0
# The rotary embedding is called through the test, which may turn rows by positions that are the rank's own.
telehelm_test(tst_planted_bugs LINK telehelm_mesh_rig)
foreach(direction 11ropeForward 12ropeBackward)
  target_link_options(tst_planted_bugs PRIVATE
    "LINKER:--wrap=_ZN8telehelm7kernels3cpu${direction}EPfPKfS4_RKNS0_9RopeShapeE")
endforeach()
