// SPDX-License-Identifier: Apache-2.0
#include "zmq/live_streams.h"

#include <algorithm>
#include <optional>

#include "zmq/live_frames.h"

namespace telehelm::ipc {
namespace {

using namespace std::chrono_literals;

constexpr auto kFirstBeat = 2s;
constexpr auto kCountedOn = 10min; // after the last subscriber left
constexpr int kMostDoublings = 6; // then every 128 s

/// Protobuf joins what is written one after the other, so that the content is serialised once for all subscriptions.
std::string withNumbers(const std::string& content, std::uint64_t number, std::uint64_t pointsBefore, std::uint64_t countedAfter) {
    v1::News numbers;
    numbers.set_news(number);
    numbers.set_points_before(pointsBefore);
    numbers.set_counted_after(countedAfter);
    return content + numbers.SerializeAsString();
}

bool hasMoreThanPoints(const v1::News& news) {
    return !news.batch().events().empty() || !news.batch().outcomes().empty() || news.has_attempt() || news.has_command();
}

std::uint64_t pointsOf(const v1::News& news, const SeriesFilter& filter) {
    std::uint64_t points = 0;
    for (const v1::SeriesBlock& block : news.batch().series())
        points += filter.matches(block.name()) ? static_cast<std::uint64_t>(block.value_size()) : 0;
    return points;
}

/// The series that a subscription wants, and everything else.
std::string cut(const v1::News& whole, const SeriesFilter& filter) {
    v1::News part;
    part.set_epoch(whole.epoch());
    part.set_published_us(whole.published_us());
    const v1::TelemetryBatch& from = whole.batch();
    v1::TelemetryBatch& to = *part.mutable_batch();
    *to.mutable_key() = from.key();
    to.set_sequence(from.sequence());
    to.set_emitted_us(from.emitted_us());
    for (const v1::SeriesBlock& block : from.series())
        if (filter.matches(block.name()))
            *to.add_series() = block;
    *to.mutable_events() = from.events();
    *to.mutable_outcomes() = from.outcomes();
    if (whole.has_attempt())
        *part.mutable_attempt() = whole.attempt();
    if (whole.has_command())
        *part.mutable_command() = whole.command();
    return part.SerializeAsString();
}

} // namespace

void LiveStreams::take(std::string_view message, Clock::time_point now) {
    if (message.empty())
        return;
    const bool begins = message.front() == 1;
    const std::string topic(message.substr(1));
    if (topic.starts_with(kTopicStart)) {
        const auto want = parseTopic(topic);
        if (begins && want)
            m_topics.try_emplace(topic, Topic{want->run, SeriesFilter(want->series), want->series.empty(), {}, {}}).first->second.leftAt.reset();
        else if (const auto found = m_topics.find(topic); found != m_topics.end())
            found->second.leftAt = now;
    } else if (begins) {
        m_v1.insert(topic);
    } else {
        m_v1.erase(topic);
    }
}

std::uint64_t LiveStreams::subscriptions() const {
    const auto held = std::count_if(m_topics.begin(), m_topics.end(), [](const auto& topic) { return !topic.second.leftAt; });
    return static_cast<std::uint64_t>(held) + m_v1.size();
}

// A subscription begins where its run stands, also when it is taken up again: its numbers only ever rise.
LiveStreams::Stream& LiveStreams::stream(Topic& topic, const std::string& run, std::uint64_t runNumber, Clock::time_point now) {
    return topic.streams.try_emplace(run, Stream{runNumber, runNumber, 0, now, 0}).first->second;
}

void LiveStreams::publish(const std::string& run, v1::News& wire, std::uint64_t points, Clock::time_point now, const Send& send) {
    std::uint64_t& runNumber = m_numbers[run];
    m_points[run] += points;
    std::optional<std::string> whole; // serialised once, if anybody wants it
    const auto wholeBody = [&]() -> const std::string& { return whole ? *whole : whole.emplace(wire.SerializeAsString()); };
    for (auto& [bytes, topic] : m_topics) {
        if (!topic.run.empty() && topic.run != run)
            continue;
        Stream& stream = this->stream(topic, run, runNumber, now);
        const std::uint64_t wanted = topic.everySeries ? points : pointsOf(wire, topic.filter);
        if (wanted == 0 && !topic.everySeries && !hasMoreThanPoints(wire))
            continue;
        ++stream.number;
        if (!topic.leftAt)
            send(bytes, withNumbers(topic.everySeries ? wholeBody() : cut(wire, topic.filter), stream.number, stream.points, stream.countedAfter),
                 stream.number);
        stream.points += wanted;
        stream.quietSince = now;
        stream.beats = 0;
    }
    ++runNumber;
    if (!m_v1.empty())
        publishV1(run, wholeBody(), runNumber, send);
}

void LiveStreams::publishV1(const std::string& run, const std::string& body, std::uint64_t number, const Send& send) {
    const std::string topic = topicV1(run);
    for (const std::string& prefix : m_v1)
        if (topic.starts_with(prefix)) {
            v1::News numbers;
            numbers.set_news(number);
            return send(topic, body + numbers.SerializeAsString(), number);
        }
}

void LiveStreams::beat(const std::string& epoch, std::int64_t publishedUs, Clock::time_point now, const Send& send) {
    std::erase_if(m_topics, [now](const auto& topic) { return topic.second.leftAt && now - *topic.second.leftAt > kCountedOn; });
    for (auto& [bytes, topic] : m_topics)
        for (auto& [run, stream] : topic.streams) {
            if (topic.leftAt || now - stream.quietSince < kFirstBeat * (1 << stream.beats))
                continue;
            stream.quietSince = now;
            stream.beats = std::min(stream.beats + 1, kMostDoublings);
            v1::News wire;
            wire.set_epoch(epoch);
            wire.set_published_us(publishedUs);
            wire.set_beat(true);
            wire.mutable_batch()->mutable_key()->set_run(run);
            send(bytes, withNumbers(wire.SerializeAsString(), stream.number, stream.points, stream.countedAfter), stream.number);
        }
}

} // namespace telehelm::ipc
