// SPDX-License-Identifier: GPL-3.0-or-later
// A daemon in the test's own process: keeps points, answers queries raw, publishes news that a test may drop. For tests only.
#pragma once

#include <cmath>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "session/session.h"
#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/live.h"

namespace telehelm::app::testing {

struct FakeDaemon {
    struct SeriesKey {
        std::uint32_t attempt;
        std::string name;
        auto operator<=>(const SeriesKey&) const = default;
    };

    std::mutex mutex;
    std::condition_variable wake;
    std::map<SeriesKey, std::vector<ipc::Point>> truth;
    std::map<std::uint32_t, std::int64_t> supersededAfter; // attempt → last step that still counts
    ipc::RunInfo run;
    std::vector<ipc::Event> events;
    std::deque<ipc::News> frames; // on their way
    std::uint64_t newsNumber = 0;
    int queries = 0;
    int answerDelayMs = 0;

    FakeDaemon() {
        run.run = "main";
        run.totalSteps = 1000;
        run.tokensPerStep = 512;
        run.validationEvery = 100;
        ipc::AttemptInfo attempt;
        attempt.key = {"main", 1};
        attempt.state = ipc::AttemptState::Running;
        attempt.startedUs = 1'700'000'000'000'000;
        run.attempts.push_back(attempt);
    }

    static ipc::Point pointAt(std::int64_t step, double value) {
        return {step, step * 512, 1'700'000'000'000'000 + step * 1'000'000, value};
    }

    /// Stores; publishes unless `dropped` (then only its number is used up).
    void emitPoints(std::uint32_t attempt, std::vector<ipc::SeriesBlock> blocks, bool dropped = false) {
        std::lock_guard lock(mutex);
        for (const ipc::SeriesBlock& block : blocks) {
            auto& points = truth[{attempt, block.name}];
            points.insert(points.end(), block.points.begin(), block.points.end());
        }
        ++newsNumber;
        if (dropped)
            return;
        ipc::News news;
        news.epoch = "epoch";
        news.news = newsNumber;
        news.publishedUs = ipc::nowUs();
        news.batch.key = {"main", attempt};
        news.batch.series = std::move(blocks);
        frames.push_back(std::move(news));
        wake.notify_all();
    }

    std::vector<ipc::SeriesSegment> answer(const ipc::SeriesQuery& query) {
        std::lock_guard lock(mutex);
        ++queries;
        std::vector<ipc::SeriesSegment> segments;
        std::map<std::string, ipc::EmaState> emas;
        for (const auto& [key, points] : truth) {
            if (!matches(query, key.name))
                continue;
            ipc::SeriesSegment good, old;
            good.key.run = old.key.run = "main";
            good.key.attempt = old.key.attempt = key.attempt;
            good.name = old.name = key.name;
            old.superseded = true;
            ipc::EmaState& ema = emas[key.name];
            for (const ipc::Point& point : points) {
                const auto limit = supersededAfter.find(key.attempt);
                const bool superseded = limit != supersededAfter.end() && point.step > limit->second;
                const double smoothed = superseded ? point.value : advance(ema, point.value, query.smoothing);
                const std::int64_t x = query.axis == ipc::Axis::Step     ? point.step
                                       : query.axis == ipc::Axis::Tokens ? point.tokens
                                                                         : point.wallUs;
                if (x >= query.from && x <= query.to)
                    (superseded ? old : good).buckets.push_back(bucket(point, smoothed));
            }
            good.ema = ema;
            segments.push_back(good);
            if (query.includeSuperseded && !old.buckets.empty())
                segments.push_back(old);
        }
        return segments;
    }

    static double advance(ipc::EmaState& ema, double value, double weight) {
        if (std::isfinite(value)) {
            ema.last = ema.last * weight + (1 - weight) * value;
            ++ema.n;
        }
        return ema.n == 0 ? NAN : ema.last / (1 - std::pow(weight, static_cast<double>(ema.n)));
    }

private:
    static bool matches(const ipc::SeriesQuery& query, const std::string& name) {
        for (const std::string& pattern : query.names)
            if (pattern == name || pattern == "*" ||
                (pattern.ends_with("/*") && name.starts_with(pattern.substr(0, pattern.size() - 1))))
                return true;
        return false;
    }
    static ipc::Bucket bucket(const ipc::Point& p, double smoothed) {
        const bool finite = std::isfinite(p.value);
        return {p.step,
                p.step,
                p.tokens,
                p.tokens,
                p.wallUs,
                p.wallUs,
                p.value,
                p.value,
                finite ? p.value : INFINITY,
                finite ? p.value : -INFINITY,
                finite ? p.value : 0,
                1,
                finite ? 0U : 1U,
                smoothed};
    }
};

class FakeControl : public ipc::ControlApi {
public:
    explicit FakeControl(FakeDaemon& daemon) : m_daemon(daemon) {}
    Result<ipc::HelloInfo> hello(std::uint32_t, const std::string&) override {
        ipc::HelloInfo info;
        info.protocol = ipc::kProtocolVersion;
        info.program = "telehelmd test";
        info.epoch = "epoch";
        info.liveEndpoint = "test";
        return info;
    }
    Result<std::vector<ipc::RunInfo>> listRuns() override {
        std::lock_guard lock(m_daemon.mutex);
        return std::vector{m_daemon.run};
    }
    Result<ipc::RunInfo> getRun(const std::string&) override {
        std::lock_guard lock(m_daemon.mutex);
        return m_daemon.run;
    }
    Result<ipc::RunInfo> startRun(const ipc::StartRequest&) override { return refuse(); }
    Result<ipc::Command> submit(const ipc::Command&) override { return refuse(); }
    Result<ipc::Command> getCommand(const std::string&) override { return refuse(); }
    Result<std::vector<ipc::Command>> listCommands(const ipc::CommandQuery&) override { return std::vector<ipc::Command>{}; }
    Result<std::vector<ipc::Event>> listEvents(const ipc::EventQuery& query) override {
        std::lock_guard lock(m_daemon.mutex);
        std::vector<ipc::Event> events;
        for (const ipc::Event& event : m_daemon.events)
            if (event.id > query.afterId)
                events.push_back(event);
        return events;
    }
    Result<ipc::Event> addNote(const ipc::Event&) override { return refuse(); }
    Result<std::vector<ipc::CheckpointInfo>> listCheckpoints(const std::string&) override {
        return std::vector<ipc::CheckpointInfo>{};
    }
    Result<ipc::SeriesPage> listSeries(const ipc::SeriesListQuery&) override { return ipc::SeriesPage{}; }
    Result<ipc::LineageInfo> lineage(const std::string&) override { return ipc::LineageInfo{}; }
    Result<void> querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink) override {
        auto segments = m_daemon.answer(query);
        std::this_thread::sleep_for(std::chrono::milliseconds(m_daemon.answerDelayMs)); // news overtake the answer
        for (auto& segment : segments)
            if (!sink(std::move(segment)))
                break;
        return {};
    }
    Result<void> watch(const std::string&, const std::function<bool(ipc::WatchUpdate&&)>& sink) override {
        while (sink({}))
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return {};
    }
    Result<void> shutdown(bool) override { return {}; }

private:
    static tl::unexpected<Error> refuse() { return fail(ErrorCode::FailedPrecondition, "not in this test"); }
    FakeDaemon& m_daemon;
};

class FakeSubscriber : public ipc::LiveSubscriber {
public:
    explicit FakeSubscriber(FakeDaemon& daemon) : m_daemon(daemon) {}
    Result<std::optional<ipc::News>> receive(int timeoutMs) override {
        std::unique_lock lock(m_daemon.mutex);
        m_daemon.wake.wait_for(lock, std::chrono::milliseconds(timeoutMs), [this] { return !m_daemon.frames.empty(); });
        if (m_daemon.frames.empty())
            return std::optional<ipc::News>{};
        std::optional<ipc::News> news = std::move(m_daemon.frames.front());
        m_daemon.frames.pop_front();
        return news;
    }
    [[nodiscard]] bool connected() const override { return true; }

private:
    FakeDaemon& m_daemon;
};

inline SessionLinks fakeLinks(FakeDaemon& daemon) {
    return {[&daemon](const std::string&) { return std::make_shared<FakeControl>(daemon); },
            [&daemon](const std::string&, std::uint32_t) -> Result<std::unique_ptr<ipc::LiveSubscriber>> {
                return std::make_unique<FakeSubscriber>(daemon);
            }};
}

} // namespace telehelm::app::testing
