// SPDX-License-Identifier: Apache-2.0
// GET /metrics over plain HTTP on 127.0.0.1, for a Prometheus on this machine.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/status.h"

namespace telehelm::daemon {

/// Serves until destroyed, on threads of its own.
class MetricsServer {
public:
    virtual ~MetricsServer() = default;
    [[nodiscard]] virtual int port() const = 0;
};
/// Port 0: any free one. `status` is called on the server's threads.
[[nodiscard]] Result<std::unique_ptr<MetricsServer>> serveMetrics(int port, std::function<Result<ipc::DaemonStatus>()> status);

} // namespace telehelm::daemon
