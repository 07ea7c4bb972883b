// SPDX-License-Identifier: Apache-2.0
// Where the links may listen and connect: loopback alone, as long as there is no TLS and no CURVE.
#pragma once

#include <string>

#include "telehelm/ipc/result.h"

namespace telehelm::ipc {

struct HostPort {
    std::string host; // without brackets
    int port = 0;     // 0: any free one
    [[nodiscard]] std::string text() const;
};

/// "127.0.0.1:7443", "localhost:0", "[::1]:7443"; anything else is refused with a sentence.
[[nodiscard]] Result<HostPort> parseLoopbackAddress(const std::string& address);
/// "tcp://127.0.0.1:7444", "tcp://127.0.0.1:*", "ipc:///path", "inproc://name".
[[nodiscard]] Result<void> checkLoopbackEndpoint(const std::string& endpoint);
/// AlreadyExists with the remedy when another program listens there. The socket is closed again at once.
[[nodiscard]] Result<void> checkPortFree(const HostPort& address);

} // namespace telehelm::ipc
