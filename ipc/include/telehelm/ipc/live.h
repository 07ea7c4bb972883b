// SPDX-License-Identifier: Apache-2.0
// The live stream over ZeroMQ XPUB/SUB. Frames: topic "run/<run>\0" | protobuf News | sequence (u64, little endian).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"

namespace telehelm::ipc {

/// Any thread may publish (guarded inside). Never blocks: a subscriber that falls behind loses news, not the daemon time.
class LivePublisher {
public:
    virtual ~LivePublisher() = default;
    virtual void publish(News news) = 0; // fills epoch, news number and time
    [[nodiscard]] virtual std::string endpoint() const = 0;
};
[[nodiscard]] Result<std::unique_ptr<LivePublisher>> makeLivePublisher(const std::string& endpoint,
                                                                       const std::string& epoch);

/// One thread only.
class LiveSubscriber {
public:
    virtual ~LiveSubscriber() = default;
    /// Waits up to `timeoutMs`; empty when nothing came. A frame that cannot be read is an error, and the next call goes on.
    virtual Result<std::optional<News>> receive(int timeoutMs) = 0;
    /// True while the TCP link stands (from the socket monitor).
    [[nodiscard]] virtual bool connected() const = 0;
};
/// `run` empty: all runs.
[[nodiscard]] Result<std::unique_ptr<LiveSubscriber>> makeLiveSubscriber(const std::string& endpoint,
                                                                         const std::string& run = {});

} // namespace telehelm::ipc
