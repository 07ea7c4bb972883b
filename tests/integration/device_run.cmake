# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_device_run)
