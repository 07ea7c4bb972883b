// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "telehelm/ipc/control_api.h"

namespace telehelm::ipc {

/// The control service of a remote daemon, over gRPC. Never blocks for longer than `timeoutMs` a call (streams apart).
/// A daemon that is away answers Unavailable; the channel reconnects by itself.
[[nodiscard]] std::unique_ptr<ControlApi> makeControlClient(const std::string& address /* "127.0.0.1:7443" */,
                                                            int timeoutMs = 10'000);

} // namespace telehelm::ipc
