// SPDX-License-Identifier: Apache-2.0
// What is subscribed to on the live stream, and the numbers that each subscription counts by.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "telehelm/ipc/live.h"
#include "telehelm/ipc/series_filter.h"
#include "telehelm/v1/live.pb.h"

namespace telehelm::ipc {

/// One thread at a time.
class LiveStreams {
public:
    using Clock = std::chrono::steady_clock;
    /// topic, body, number
    using Send = std::function<void(const std::string& topic, const std::string& body, std::uint64_t number)>;

    /// A message from an XPUB socket: 1 or 0, then the topic that somebody subscribed to or nobody wants any more.
    void take(std::string_view message, Clock::time_point now);
    /// `wire` holds epoch, time and the whole content; what each subscription wants of it goes to `send`.
    void publish(const std::string& run, v1::News& wire, std::uint64_t points, Clock::time_point now, const Send& send);
    /// The newest numbers, for subscriptions that have been quiet for 2, 4, 8, … s.
    void beat(const std::string& epoch, std::int64_t publishedUs, Clock::time_point now, const Send& send);
    [[nodiscard]] std::uint64_t subscriptions() const;
    [[nodiscard]] const std::map<std::string, std::uint64_t>& points() const { return m_points; }

private:
    /// A subscription's view of one run.
    struct Stream {
        std::uint64_t number = 0, countedAfter = 0, points = 0;
        Clock::time_point quietSince;
        int beats = 0; // since then
    };
    struct Topic {
        std::string run; // empty: all
        SeriesFilter filter;
        bool everySeries = false;
        std::map<std::string, Stream> streams; // by run
        std::optional<Clock::time_point> leftAt; // nobody holds it: counted for a while, so that who comes back knows what it missed
    };
    Stream& stream(Topic& topic, const std::string& run, std::uint64_t runNumber, Clock::time_point now);
    void publishV1(const std::string& run, const std::string& body, std::uint64_t number, const Send& send);

    std::map<std::string, Topic> m_topics;
    std::set<std::string> m_v1; // prefixes of topics that clients of protocol 1 want
    std::map<std::string, std::uint64_t> m_numbers; // messages so far, by run
    std::map<std::string, std::uint64_t> m_points;
};

} // namespace telehelm::ipc
