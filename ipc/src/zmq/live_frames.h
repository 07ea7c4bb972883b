// SPDX-License-Identifier: Apache-2.0
// Topics of the live stream: a subscription's bytes say what it wants (README.md, "Live").
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "telehelm/ipc/live.h"

namespace telehelm::ipc {

inline constexpr std::string_view kTopicStart = "live2/"; // protocol 2
inline constexpr std::size_t kLongestTopic = 8192;

/// "live2/" run 0 (series 0)* 0. No topic is the beginning of another, so that a subscriber gets its own alone.
[[nodiscard]] inline std::string topicOf(const LiveSubscription& want) {
    std::string topic(kTopicStart);
    topic += want.run + '\0';
    for (const std::string& series : want.series)
        topic += series + '\0';
    return topic + '\0';
}

/// Nothing when the bytes are no topic of protocol 2.
[[nodiscard]] inline std::optional<LiveSubscription> parseTopic(std::string_view topic) {
    if (!topic.starts_with(kTopicStart) || topic.size() > kLongestTopic)
        return std::nullopt;
    topic.remove_prefix(kTopicStart.size());
    LiveSubscription want;
    const auto runEnd = topic.find('\0');
    if (runEnd == std::string_view::npos)
        return std::nullopt;
    want.run = topic.substr(0, runEnd);
    topic.remove_prefix(runEnd + 1);
    while (!topic.empty() && topic.front() != '\0') {
        const auto end = topic.find('\0');
        if (end == std::string_view::npos)
            return std::nullopt;
        want.series.emplace_back(topic.substr(0, end));
        topic.remove_prefix(end + 1);
    }
    return topic.size() == 1 ? std::optional(want) : std::nullopt;
}

// Protocol 1: whole runs alone.
inline constexpr const char* kEveryRunV1 = "run/";
/// Ends with a zero byte, so that a subscription to run "demo" is not one to "demo-2" as well.
[[nodiscard]] inline std::string topicV1(const std::string& run) { return kEveryRunV1 + run + '\0'; }

} // namespace telehelm::ipc
