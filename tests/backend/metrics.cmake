# SPDX-License-Identifier: Apache-2.0
telehelm_test(tst_metrics LINK telehelm_daemon PkgConfig::HTTPLIB)
