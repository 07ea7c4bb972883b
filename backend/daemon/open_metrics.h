// SPDX-License-Identifier: Apache-2.0
// The counters as OpenMetrics 1.0 text, for Prometheus and its kin.
#pragma once

#include <string>

#include "telehelm/ipc/status.h"

namespace telehelm::daemon {

inline constexpr const char* kOpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

[[nodiscard]] std::string openMetrics(const ipc::DaemonStatus& status);

} // namespace telehelm::daemon
