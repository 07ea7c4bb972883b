// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "telehelm/ipc/control_api.h"

namespace telehelm::ipc {

/// Serves `api` over gRPC until destroyed. Handler threads are gRPC's; `api` must be thread-safe and outlive it.
class ControlServer {
public:
    virtual ~ControlServer() = default;
    [[nodiscard]] virtual int port() const = 0; // the one bound, when the address asked for port 0
};

/// Refuses addresses other than loopback (no TLS yet) and says when the port is taken, and by which address.
[[nodiscard]] Result<std::unique_ptr<ControlServer>> serveControl(ControlApi& api, const std::string& address);

} // namespace telehelm::ipc
