// SPDX-License-Identifier: GPL-3.0-or-later
// A daemon in the test's process that can be cut off, restarted and held up: control and live link each have a switch. For tests only.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "session/session.h"

namespace telehelm::app::testing {

struct SwitchableBackend {
    std::mutex mutex;
    std::condition_variable changed;
    bool controlUp = true, liveUp = true;
    bool hold = false; // calls other than hello wait until it is off
    std::string epoch = "one";
    std::vector<ipc::RunInfo> runs;
    std::vector<ipc::Event> events;
    std::vector<ipc::Command> commands;
    std::vector<ipc::Command> submitted;
    std::vector<ipc::StartRequest> startRequests;
    std::deque<ipc::WatchUpdate> updates;
    std::deque<ipc::News> news;
    int openSubscribers = 0, callsInside = 0;

    template <typename F>
    void with(F change) {
        const std::lock_guard lock(mutex);
        change(*this);
        changed.notify_all();
    }
    static ipc::RunInfo makeRun(const std::string& name, ipc::AttemptState state = ipc::AttemptState::Running, std::int64_t created = 1) {
        ipc::RunInfo run;
        run.run = name;
        run.createdUs = created;
        run.totalSteps = 1000;
        run.tokensPerStep = 512;
        run.totalTokens = 512'000;
        run.parameters = 1'000'000;
        run.device = "CPU, 2 ranks";
        run.dataParallel = 2;
        run.clipGrad = 1;
        run.minimumLearningRate = 1.5e-5;
        run.lrSchedule = "cosine";
        ipc::AttemptInfo attempt;
        attempt.key = {name, 1};
        attempt.state = state;
        attempt.startedUs = ipc::nowUs();
        run.attempts.push_back(attempt);
        return run;
    }
    static ipc::News makeNews(const std::string& run, std::uint64_t number, std::int64_t step, const std::string& epoch_ = "one") {
        ipc::News item;
        item.epoch = epoch_;
        item.news = number;
        item.publishedUs = ipc::nowUs();
        item.batch.key = {run, 1};
        item.batch.emittedUs = item.publishedUs;
        const auto point = [&](double value) { return std::vector<ipc::Point>{{step, step * 512, item.publishedUs, value}}; };
        item.batch.series = {{"train/loss", point(5.0 - 0.01 * static_cast<double>(step))},
                             {"train/grad_norm", point(0.25)},
                             {"perf/step_ms", point(250)},
                             {"perf/tokens_per_s", point(8200)},
                             {"optim/lr", point(1e-3)}};
        return item;
    }
};

class SwitchableControl : public ipc::ControlApi {
public:
    explicit SwitchableControl(SwitchableBackend& backend) : m_b(backend) {}

    Result<ipc::HelloInfo> hello(std::uint32_t, const std::string&) override {
        const std::lock_guard lock(m_b.mutex);
        if (!m_b.controlUp)
            return away();
        ipc::HelloInfo info;
        info.protocol = ipc::kProtocolVersion;
        info.program = "telehelmd test";
        info.epoch = m_b.epoch;
        info.liveEndpoint = "live";
        return info;
    }
    Result<std::vector<ipc::RunInfo>> listRuns() override {
        return inside<std::vector<ipc::RunInfo>>([&] { return m_b.runs; });
    }
    Result<ipc::RunInfo> getRun(const std::string& name) override {
        return inside<ipc::RunInfo>([&]() -> Result<ipc::RunInfo> {
            for (const auto& run : m_b.runs)
                if (run.run == name)
                    return run;
            return fail(ErrorCode::NotFound, "no run named “" + name + "”");
        });
    }
    Result<ipc::RunInfo> startRun(const ipc::StartRequest& request) override {
        return inside<ipc::RunInfo>([&]() -> Result<ipc::RunInfo> {
            m_b.startRequests.push_back(request);
            if (request.configToml.empty())
                return fail(ErrorCode::InvalidArgument, "the config is empty", request.configPath);
            return SwitchableBackend::makeRun("started");
        });
    }
    Result<ipc::Command> submit(const ipc::Command& command) override {
        return inside<ipc::Command>([&] {
            auto answer = command;
            answer.state = ipc::CommandState::Accepted;
            m_b.submitted.push_back(command);
            return answer;
        });
    }
    Result<ipc::Command> getCommand(const std::string&) override { return fail(ErrorCode::NotFound, "not in this test"); }
    Result<std::vector<ipc::Command>> listCommands(const ipc::CommandQuery&) override {
        return inside<std::vector<ipc::Command>>([&] { return m_b.commands; });
    }
    Result<std::vector<ipc::Event>> listEvents(const ipc::EventQuery& query) override {
        return inside<std::vector<ipc::Event>>([&] {
            std::vector<ipc::Event> found;
            for (const auto& event : m_b.events)
                if (event.id > query.afterId)
                    found.push_back(event);
            return found;
        });
    }
    Result<ipc::Event> addNote(const ipc::Event& note) override { return note; }
    Result<std::vector<ipc::CheckpointInfo>> listCheckpoints(const std::string&) override {
        return inside<std::vector<ipc::CheckpointInfo>>([] { return std::vector<ipc::CheckpointInfo>{}; });
    }
    Result<ipc::LineageInfo> lineage(const std::string&) override {
        return inside<ipc::LineageInfo>([] { return ipc::LineageInfo{}; });
    }
    Result<ipc::SeriesPage> listSeries(const ipc::SeriesListQuery& query) override {
        return inside<ipc::SeriesPage>([&] {
            ipc::SeriesInfo loss;
            loss.key = query.key;
            loss.name = "train/loss";
            loss.points = 1;
            loss.lastStep = 1;
            loss.latest = 4.99;
            return ipc::SeriesPage{{loss}, 1, {}};
        });
    }
    Result<void> querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink) override {
        auto segment = inside<ipc::SeriesSegment>([&] {
            ipc::SeriesSegment made;
            made.key = query.key;
            made.name = query.names.empty() ? std::string("none") : query.names.front();
            return made;
        });
        if (!segment)
            return tl::unexpected<Error>(segment.error());
        sink(std::move(*segment));
        return {};
    }
    Result<void> watch(const std::string&, const std::function<bool(ipc::WatchUpdate&&)>& sink) override {
        while (true) {
            std::unique_lock lock(m_b.mutex);
            m_b.changed.wait_for(lock, std::chrono::milliseconds(20), [&] { return !m_b.updates.empty() || !m_b.controlUp; });
            if (!m_b.controlUp)
                return away();
            ipc::WatchUpdate update;
            if (!m_b.updates.empty()) {
                update = std::move(m_b.updates.front());
                m_b.updates.pop_front();
            }
            lock.unlock();
            if (!sink(std::move(update)))
                return {};
        }
    }
    Result<void> shutdown(bool) override { return {}; }

private:
    static tl::unexpected<Error> away() { return fail(ErrorCode::Unavailable, "connection refused", "test:1"); }
    template <typename T, typename F>
    Result<T> inside(F answer) {
        std::unique_lock lock(m_b.mutex);
        ++m_b.callsInside;
        m_b.changed.wait_for(lock, std::chrono::seconds(20), [&] { return !m_b.hold; });
        --m_b.callsInside;
        if (!m_b.controlUp)
            return away();
        return answer();
    }
    SwitchableBackend& m_b;
};

class SwitchableSubscriber : public ipc::LiveSubscriber {
public:
    explicit SwitchableSubscriber(SwitchableBackend& backend) : m_b(backend) {
        m_b.with([](auto& b) { ++b.openSubscribers; });
    }
    ~SwitchableSubscriber() override {
        m_b.with([](auto& b) { --b.openSubscribers; });
    }
    Result<std::optional<ipc::News>> receive(int timeoutMs) override {
        std::unique_lock lock(m_b.mutex);
        m_b.changed.wait_for(lock, std::chrono::milliseconds(timeoutMs), [&] { return m_b.liveUp && !m_b.news.empty(); });
        if (!m_b.liveUp || m_b.news.empty())
            return std::optional<ipc::News>{};
        std::optional<ipc::News> item = std::move(m_b.news.front());
        m_b.news.pop_front();
        return item;
    }
    [[nodiscard]] bool connected() const override {
        const std::lock_guard lock(m_b.mutex);
        return m_b.liveUp;
    }

private:
    SwitchableBackend& m_b;
};

inline SessionLinks linksTo(SwitchableBackend& backend) {
    return {[&backend](const std::string&) { return std::make_shared<SwitchableControl>(backend); },
            [&backend](const std::string&, std::uint32_t) -> Result<std::unique_ptr<ipc::LiveSubscriber>> {
                return std::make_unique<SwitchableSubscriber>(backend);
            }};
}

} // namespace telehelm::app::testing
