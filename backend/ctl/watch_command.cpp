// SPDX-License-Identifier: Apache-2.0
// telehelmctl watch: draws the news, and fetches from the truth what the news left out. It asks the truth when the numbers tell of
// a hole, when an attempt changes and when the link was away; never by the clock.
#include <algorithm>
#include <chrono>
#include <limits>
#include <ostream>
#include <thread>
#include <utility>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"
#include "ctl/step_table.h"
#include "telehelm/ipc/live.h"
#include "telehelm/ipc/news_ledger.h"

namespace telehelm::ctl {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kShownAtFirst = 10; // steps of history
constexpr auto kConnectWithin = 3s;        // else the daemon is asked whether it is there
constexpr auto kReportEvery = 5s;          // the daemon forgets a client after 30 s
constexpr auto kLookEveryV1 = 2s;          // daemons of protocol 1 do not tell quiet streams their numbers

/// One watched run. One thread.
class Watcher {
public:
    Watcher(const Call& call, const WatchArguments& arguments, Connected daemon)
        : m_call(call), m_arguments(arguments), m_daemon(std::move(daemon)) {
        m_counters.id = ipc::newUuid();
        m_counters.program = kProgram;
        m_counters.host = hostName();
        m_counters.user = operatorName();
    }

    int run() {
        auto info = m_daemon.api->getRun(m_arguments.run);
        if (!info)
            return complain(m_call, info.error());
        m_run = std::move(*info);
        if (auto subscribed = subscribe(); !subscribed)
            return complain(m_call, subscribed.error());
        if (const ipc::AttemptInfo* newest = m_run.newest())
            m_table.startAt(newest->key.attempt, std::max<std::int64_t>(newest->step - kShownAtFirst, 0));
        if (auto repaired = repair(); !repaired)
            return complain(m_call, repaired.error());
        while (!m_done) {
            takeNews();
            followLink();
            if (m_gap || m_look || Clock::now() >= m_nextLook)
                lookAtTruth();
            reportCounters();
        }
        m_nextReport = {};
        reportCounters(); // how it ended
        clearProgress();
        return m_exit;
    }

private:
    Result<void> subscribe() {
        const ipc::LiveSubscription want{m_arguments.run, shownSeries(), m_daemon.hello.protocol};
        return ipc::makeLiveSubscriber(m_daemon.hello.liveEndpoint, want).map([this](auto&& subscriber) {
            m_subscriber = std::move(subscriber);
            m_ledger.clear();
            m_isConnected = false;
            m_nextLook = Clock::now() + kConnectWithin;
        });
    }

    /// What happened before the subscription stood, or while it was away, is in the truth.
    void followLink() {
        const bool connected = m_subscriber->connected();
        if (connected == m_isConnected)
            return;
        m_isConnected = connected;
        m_look = m_look || connected;
        m_gap = m_gap || connected;
        m_nextLook = connected ? Clock::time_point::max() : Clock::now() + kConnectWithin;
    }

    void takeNews() {
        auto got = m_subscriber->receive(250);
        if (!got || !*got) {
            m_gap = m_gap || !got; // a message that cannot be read is a hole like any other
            return;
        }
        const ipc::News& news = **got;
        const auto [order, missed] = m_ledger.see(news);
        if (order == ipc::NewsOrder::Old)
            return;
        m_counters.gaps += order == ipc::NewsOrder::Hole ? 1 : 0;
        m_counters.missed += missed.value_or(0);
        m_toRepair += missed.value_or(0);
        m_counters.received += ipc::pointCount(news.batch);
        m_gap = m_gap || order != ipc::NewsOrder::Next;
        m_look = m_look || news.beat || news.attempt;
        if (news.beat)
            return;
        for (const ipc::SeriesBlock& block : news.batch.series)
            for (const ipc::Point& point : block.points) {
                m_table.add(news.batch.key, block.name, point);
                m_counters.newestUs = std::max(m_counters.newestUs, point.wallUs);
            }
        m_gap = m_gap || m_table.hasHole();
        if (!m_gap) // else the repair, which comes next, brings the rows in order
            show(m_table.take());
        for (const ipc::Event& event : news.batch.events)
            show(event);
    }

    /// The state of the run, and every step since the last one shown.
    void lookAtTruth() {
        m_look = false;
        m_nextLook = !m_isConnected                     ? Clock::now() + kConnectWithin
                     : m_daemon.hello.protocol < 2 ? Clock::now() + kLookEveryV1
                                                   : Clock::time_point::max();
        auto info = m_daemon.api->getRun(m_arguments.run);
        if (!info)
            return lostDaemon(info.error());
        if (m_isAway) {
            say("the daemon is back");
            m_isAway = false;
        }
        m_run = std::move(*info);
        const ipc::AttemptInfo* newest = m_run.newest();
        if (newest == nullptr)
            return;
        if (newest->key.attempt > m_table.attempt()) {
            say("attempt " + std::to_string(newest->key.attempt) + " goes on from step " + withSeparators(newest->forkStep));
            m_table.startAt(newest->key.attempt, newest->forkStep);
            m_counters.repaired += std::exchange(m_toRepair, 0); // of the attempt before it, which is shown no more
            m_gap = true;
        }
        const bool ended = !isLive(newest->state);
        if (m_gap || ended || newest->step > m_table.lastShown() + 2)
            if (auto repaired = repair(); !repaired)
                return lostDaemon(repaired.error());
        if (ended && !m_done)
            finish(*newest);
        drawProgress();
    }

    Result<void> repair() {
        ipc::SeriesQuery query;
        query.key = {m_arguments.run, m_table.attempt()};
        query.names = shownSeries();
        query.from = m_table.lastShown() + 1;
        query.maxBuckets = 0;
        std::uint64_t fresh = 0;
        auto done = m_daemon.api->querySeries(query, [&](ipc::SeriesSegment&& segment) {
            for (const ipc::Bucket& b : segment.buckets)
                fresh += m_table.add(segment.key, segment.name, {b.firstStep, b.firstTokens, b.firstWallUs, b.first}) ? 1 : 0;
            return true;
        });
        if (!done && done.error().code != ErrorCode::NotFound) // no such series yet
            return done;
        const std::uint64_t found = std::min(fresh, m_toRepair);
        m_counters.repaired += found;
        m_counters.lost += std::exchange(m_toRepair, 0) - found;
        m_gap = false;
        show(m_table.take());
        return {};
    }

    /// So that the daemon's status tells what this client sees.
    void reportCounters() {
        if (m_isAway || m_daemon.hello.protocol < 2 || Clock::now() < m_nextReport)
            return;
        m_nextReport = Clock::now() + kReportEvery;
        if (auto told = m_daemon.api->report(m_counters); !told)
            m_look = true; // which says so when the daemon is away
    }

    void finish(const ipc::AttemptInfo& newest) {
        show(m_table.takeAll());
        if (m_done)
            return;
        m_done = true;
        const bool isBad = newest.state == ipc::AttemptState::Failed || newest.state == ipc::AttemptState::Lost;
        m_exit = isBad ? kFailed : kOk;
        say(m_run.run + " " + name(newest.state) + " at step " + withSeparators(newest.step) +
            (newest.stateText.empty() ? "" : ": " + newest.stateText));
    }

    void lostDaemon(const Error& error) {
        if (error.code != ErrorCode::Unavailable) {
            m_exit = complain(m_call, error);
            m_done = true;
            return;
        }
        if (!m_isAway)
            say("the daemon is away (" + error.text() + "); training goes on, waiting for it");
        m_isAway = true;
        m_gap = true;
        std::this_thread::sleep_for(500ms);
        // It may come back on another port.
        if (auto connected = connect(m_call.common)) {
            m_daemon = std::move(*connected);
            if (auto subscribed = subscribe(); !subscribed)
                m_isAway = true;
        }
    }

    void show(const std::vector<StepRow>& rows) {
        for (const StepRow& row : rows) {
            if (m_done)
                return;
            noteSpeed(row);
            clearProgress();
            m_call.terminal.out << (m_call.common.json ? jsonLine(row) : textLine(row)) << "\n";
            m_done = m_arguments.steps > 0 && ++m_shown >= m_arguments.steps;
        }
        if (!rows.empty())
            drawProgress();
    }
    void show(const ipc::Event& event) {
        if (m_done)
            return;
        clearProgress();
        if (m_call.common.json)
            m_call.terminal.out << toJson(event).dump() << std::endl;
        else
            m_call.terminal.out << paint("· " + std::string(name(event.kind)) + "  " + event.text, colourOf(event.severity), m_call.terminal.hasColour)
                                << std::endl;
    }
    void say(const std::string& text) {
        clearProgress();
        m_call.terminal.err << "telehelmctl: " << text << std::endl;
    }

    static double valueOf(const StepRow& row, const char* series) {
        const auto found = row.values.find(series);
        return found == row.values.end() ? std::numeric_limits<double>::quiet_NaN() : found->second;
    }
    [[nodiscard]] std::string textLine(const StepRow& row) const {
        std::string line = "step " + withSeparators(row.step);
        if (m_run.totalSteps > 0)
            line += "/" + withSeparators(m_run.totalSteps);
        line += "  loss " + shortNumber(valueOf(row, ipc::series::kTrainLoss), 5);
        line += "  norm " + shortNumber(valueOf(row, ipc::series::kGradNorm), 4);
        line += "  lr " + shortNumber(valueOf(row, ipc::series::kLearningRate), 3);
        line += "  " + shortNumber(valueOf(row, ipc::series::kTokensPerS), 4) + " tokens/s";
        if (m_secondsPerStep > 0 && m_run.totalSteps > row.step)
            line += "  ETA " + durationText(m_secondsPerStep * static_cast<double>(m_run.totalSteps - row.step));
        return line;
    }
    [[nodiscard]] static std::string jsonLine(const StepRow& row) {
        Json json = {{"attempt", row.attempt}, {"step", row.step}, {"tokens", row.tokens}, {"wall_us", row.wallUs}};
        for (const auto& [series, value] : row.values)
            json[series] = number(value);
        return json.dump();
    }

    /// Seconds a step as a moving mean over about 20 steps; pauses and repairs do not fool it for long.
    void noteSpeed(const StepRow& row) {
        const double seconds = static_cast<double>(row.wallUs - m_lastWallUs) / 1e6;
        if (m_lastWallUs > 0 && row.step == m_lastStep + 1 && seconds > 0)
            m_secondsPerStep = m_secondsPerStep <= 0 ? seconds : 0.95 * m_secondsPerStep + 0.05 * seconds;
        m_lastWallUs = row.wallUs;
        m_lastStep = row.step;
    }

    void drawProgress() {
        m_call.terminal.out.flush();
        if (!m_call.terminal.isTty || m_call.common.json || m_run.totalSteps <= 0 || m_done)
            return;
        const double share = static_cast<double>(m_table.lastShown()) / static_cast<double>(m_run.totalSteps);
        std::string line = progressBar(share, 30) + " " + percentText(share) + "  " + m_run.run;
        if (const ipc::AttemptInfo* newest = m_run.newest())
            line += "  " + std::string(name(newest->state));
        if (m_secondsPerStep > 0)
            line += "  " + durationText(m_secondsPerStep * static_cast<double>(m_run.totalSteps - m_table.lastShown())) + " left";
        if (displayWidth(line) < static_cast<std::size_t>(m_call.terminal.columns)) {
            m_call.terminal.out << line << std::flush;
            m_hasProgress = true;
        }
    }
    void clearProgress() {
        if (m_hasProgress)
            m_call.terminal.out << "\r\033[K";
        m_hasProgress = false;
    }

    const Call& m_call;
    const WatchArguments& m_arguments;
    Connected m_daemon;
    std::unique_ptr<ipc::LiveSubscriber> m_subscriber;
    ipc::RunInfo m_run;
    StepTable m_table;
    ipc::NewsLedger m_ledger;
    ipc::ClientCounters m_counters;
    std::uint64_t m_toRepair = 0; // points that the numbers miss and history was not asked for yet
    bool m_gap = false, m_look = true, m_isConnected = false, m_isAway = false, m_done = false, m_hasProgress = false;
    int m_exit = kOk;
    std::int64_t m_shown = 0, m_lastWallUs = 0, m_lastStep = 0;
    double m_secondsPerStep = 0;
    Clock::time_point m_nextLook, m_nextReport;
};

} // namespace

int watchRun(const Call& call, const WatchArguments& arguments) {
    return withDaemon(call, [&](Connected& daemon) { return Watcher(call, arguments, std::move(daemon)).run(); });
}

} // namespace telehelm::ctl
