// SPDX-License-Identifier: GPL-3.0-or-later
// A control service in the test's own process that knows one run and answers orders as it is told to: what dialogs and pages are
// tested against. Thread safe, as a session's workers call it.
#pragma once

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>

#include "session/session.h"

namespace telehelm::app::test {

class ScriptedDaemon : public ipc::ControlApi {
public:
    // Set before the session opens, or under `mutex`.
    std::mutex mutex;
    ipc::RunInfo run;
    std::vector<ipc::CheckpointInfo> checkpoints;
    std::vector<ipc::Event> events;
    std::vector<ipc::Command> commands;
    std::map<std::string, double (*)(std::int64_t step)> curves;
    ipc::CommandState answer = ipc::CommandState::Accepted;
    std::string outcome;
    std::vector<ipc::Command> received;
    std::vector<ipc::WatchUpdate> pending; // sent to the watcher next
    std::int64_t startUs = 1'763'000'000'000'000, stepUs = 15'000'000;

    void push(ipc::WatchUpdate update) {
        const std::lock_guard lock(mutex);
        pending.push_back(std::move(update));
        m_wake.notify_all();
    }

    Result<ipc::HelloInfo> hello(std::uint32_t, const std::string&) override {
        ipc::HelloInfo info;
        info.protocol = ipc::kProtocolVersion;
        info.program = "telehelmd 0.1.0";
        info.epoch = "test";
        info.liveEndpoint = "inproc://none";
        return info;
    }
    Result<std::vector<ipc::RunInfo>> listRuns() override {
        const std::lock_guard lock(mutex);
        return std::vector<ipc::RunInfo>{run};
    }
    Result<ipc::RunInfo> getRun(const std::string&) override {
        const std::lock_guard lock(mutex);
        return run;
    }
    Result<ipc::RunInfo> startRun(const ipc::StartRequest&) override { return fail(ErrorCode::FailedPrecondition, "not here"); }
    Result<ipc::Command> submit(const ipc::Command& command) override {
        const std::lock_guard lock(mutex);
        received.push_back(command);
        ipc::Command answered = command;
        answered.state = answer;
        answered.outcome = outcome;
        answered.requestedUs = ipc::nowUs();
        return answered;
    }
    Result<ipc::Command> getCommand(const std::string&) override { return fail(ErrorCode::NotFound, "no such command"); }
    Result<std::vector<ipc::Command>> listCommands(const ipc::CommandQuery&) override {
        const std::lock_guard lock(mutex);
        return commands;
    }
    Result<std::vector<ipc::Event>> listEvents(const ipc::EventQuery&) override {
        const std::lock_guard lock(mutex);
        return events;
    }
    Result<ipc::Event> addNote(const ipc::Event& note) override { return note; }
    Result<std::vector<ipc::CheckpointInfo>> listCheckpoints(const std::string&) override {
        const std::lock_guard lock(mutex);
        return checkpoints;
    }
    Result<ipc::SeriesPage> listSeries(const ipc::SeriesListQuery&) override { return ipc::SeriesPage{}; }
    Result<ipc::LineageInfo> lineage(const std::string&) override { return ipc::LineageInfo{}; }

    Result<void> querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink) override {
        std::unique_lock lock(mutex);
        std::vector<ipc::SeriesSegment> segments;
        for (const auto& [name, curve] : curves) {
            for (const auto& wanted : query.names) {
                const bool glob = !wanted.empty() && wanted.back() == '*' && name.rfind(wanted.substr(0, wanted.size() - 1), 0) == 0;
                if (wanted == name || glob) {
                    segments.push_back(segment(name, curve, query));
                }
            }
        }
        lock.unlock();
        for (auto& each : segments) {
            if (!sink(std::move(each))) {
                break;
            }
        }
        return {};
    }

    Result<void> watch(const std::string&, const std::function<bool(ipc::WatchUpdate&&)>& sink) override {
        ipc::WatchUpdate first;
        {
            const std::lock_guard lock(mutex);
            first.run = run;
        }
        bool on = sink(std::move(first));
        while (on) {
            std::vector<ipc::WatchUpdate> updates;
            {
                std::unique_lock lock(mutex);
                m_wake.wait_for(lock, std::chrono::milliseconds(50), [this] { return !pending.empty(); });
                updates.swap(pending);
            }
            if (updates.empty()) {
                updates.emplace_back();
            }
            for (auto& update : updates) {
                on = on && sink(std::move(update));
            }
        }
        return {};
    }
    Result<void> shutdown(bool) override { return {}; }

private:
    [[nodiscard]] ipc::SeriesSegment segment(const std::string& name, double (*curve)(std::int64_t), const ipc::SeriesQuery& query) const {
        ipc::SeriesSegment result;
        result.key = {run.run, 1};
        result.name = name;
        const std::int64_t newest = run.attempts.back().step;
        const std::int64_t from = std::max<std::int64_t>(1, query.from), to = std::min(query.to, newest);
        const std::int64_t width = query.maxBuckets == 0 ? 1 : std::max<std::int64_t>(1, (to - from + 1) / query.maxBuckets);
        double smoothed = curve(from);
        for (std::int64_t step = from; step <= to; step += width) {
            ipc::Bucket bucket;
            bucket.firstStep = step;
            bucket.lastStep = std::min(to, step + width - 1);
            bucket.first = curve(step);
            bucket.min = INFINITY;
            bucket.max = -INFINITY;
            for (std::int64_t each = step; each <= bucket.lastStep; ++each) {
                const double value = curve(each);
                bucket.last = value;
                bucket.min = std::min(bucket.min, value);
                bucket.max = std::max(bucket.max, value);
                bucket.sum += value;
                ++bucket.count;
                smoothed = smoothed * 0.98 + value * 0.02;
            }
            bucket.smoothed = smoothed;
            bucket.firstTokens = bucket.firstStep * run.tokensPerStep;
            bucket.lastTokens = bucket.lastStep * run.tokensPerStep;
            bucket.firstWallUs = startUs + bucket.firstStep * stepUs;
            bucket.lastWallUs = startUs + bucket.lastStep * stepUs;
            result.buckets.push_back(bucket);
        }
        return result;
    }
    std::condition_variable m_wake;
};

/// A live stream that stands and brings nothing.
class SilentStream : public ipc::LiveSubscriber {
public:
    Result<std::optional<ipc::News>> receive(int timeoutMs) override {
        std::unique_lock lock(m_mutex);
        m_never.wait_for(lock, std::chrono::milliseconds(std::min(timeoutMs, 20)));
        return std::optional<ipc::News>();
    }
    [[nodiscard]] bool connected() const override { return true; }

private:
    std::mutex m_mutex;
    std::condition_variable m_never;
};

inline SessionLinks scriptedLinks(std::shared_ptr<ScriptedDaemon> daemon) {
    return {[daemon](const std::string&) { return daemon; },
            [](const std::string&, std::uint32_t) -> Result<std::unique_ptr<ipc::LiveSubscriber>> { return std::unique_ptr<ipc::LiveSubscriber>(std::make_unique<SilentStream>()); }};
}

/// Of about the size of the report's 52B run, so that pages can be laid beside the design.
void fillBigRun(ScriptedDaemon& daemon);

} // namespace telehelm::app::test
