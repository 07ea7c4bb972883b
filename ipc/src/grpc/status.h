// SPDX-License-Identifier: Apache-2.0
// Error ↔ grpc::Status; code, message and context survive whole in the status details.
#pragma once

#include <string>

#include <grpcpp/support/status.h>

#include "telehelm/ipc/result.h"

namespace telehelm::ipc {

[[nodiscard]] grpc::Status toStatus(const Error& error);
/// `address`: of the daemon that was called, for errors that gRPC itself found.
[[nodiscard]] Error fromStatus(const grpc::Status& status, const std::string& address, int timeoutMs);

} // namespace telehelm::ipc
