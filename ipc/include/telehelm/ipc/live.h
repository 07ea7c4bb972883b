// SPDX-License-Identifier: Apache-2.0
// The live stream over ZeroMQ XPUB/SUB. Frames: topic = the subscription | protobuf News | number (u64, little endian); README.md, "Live".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"

namespace telehelm::ipc {

struct LiveCounters {
    std::uint64_t subscriptions = 0; // different ones
    std::uint64_t messages = 0;
    std::map<std::string, std::uint64_t> points; // published, by run
};

/// Any thread may publish (guarded inside). Never blocks: a subscriber that falls behind loses news, not the daemon time.
/// What nobody subscribes to is counted and not sent.
class LivePublisher {
public:
    virtual ~LivePublisher() = default;
    virtual void publish(News news) = 0; // fills epoch, number, counts and time
    /// Tells quiet subscriptions their newest number, 2, 4, 8, … s after their last news. Call it about once a second.
    virtual void beat() = 0;
    [[nodiscard]] virtual LiveCounters counters() const = 0;
    [[nodiscard]] virtual std::string endpoint() const = 0;
};
[[nodiscard]] Result<std::unique_ptr<LivePublisher>> makeLivePublisher(const std::string& endpoint,
                                                                       const std::string& epoch);

/// What to be told. Events, commands and changes of attempts come whatever the series.
struct LiveSubscription {
    std::string run;                 // empty: all runs
    std::vector<std::string> series; // exact names or globs, as in SeriesQuery; empty: every series
    std::uint32_t protocol = kProtocolVersion; // that HelloInfo named
};

/// One thread only.
class LiveSubscriber {
public:
    virtual ~LiveSubscriber() = default;
    /// Waits up to `timeoutMs`; empty when nothing came. A frame that cannot be read is an error, and the next call goes on.
    virtual Result<std::optional<News>> receive(int timeoutMs) = 0;
    /// True while the TCP link stands (from the socket monitor).
    [[nodiscard]] virtual bool connected() const = 0;
};
[[nodiscard]] Result<std::unique_ptr<LiveSubscriber>> makeLiveSubscriber(const std::string& endpoint,
                                                                         const LiveSubscription& subscription = {});

} // namespace telehelm::ipc
