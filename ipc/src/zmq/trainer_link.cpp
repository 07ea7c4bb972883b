// SPDX-License-Identifier: Apache-2.0
#include "telehelm/ipc/trainer_link.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <unistd.h>
#include <zmq.h>

#include "convert/convert.h"
#include "zmq/trainer_connection.h"
#include "zmq/trainer_outbox.h"

namespace telehelm::ipc {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostInFlight = 512;  // batches sent and not acked
constexpr auto kPulseEvery = 1s;
constexpr auto kSilenceLimit = 5s;          // the daemon answers every pulse
constexpr auto kAckLimit = 5s;              // then what is in flight is sent again
constexpr auto kRetryPause = 1s;            // after a nack or a refusal
constexpr auto kSpillAge = 1s;              // older unacked batches go to the file, in case we are killed
constexpr auto kGoodbyeLimit = 2s;

std::string hostName() {
    char name[256] = {};
    gethostname(name, sizeof name - 1);
    return name;
}

std::string bytesOf(const TrainerHello& hello) {
    v1::TrainerHello wire;
    toWire(hello, wire);
    return wire.SerializeAsString();
}

class ZmqTrainerLink final : public TrainerLink {
public:
    ZmqTrainerLink(TrainerLinkOptions options, bool offline)
        : m_options(std::move(options)), m_offline(offline), m_connection(m_options.endpoint, m_options.endpointFile) {}
    ~ZmqTrainerLink() override {
        if (!m_thread.joinable())
            return;
        {
            const std::lock_guard lock(m_mutex);
            m_stopping = true;
        }
        m_waker.notify();
        m_thread.join();
    }
    Result<void> start() {
        if (auto opened = m_outbox.open(m_options.spoolFile, m_options.key, m_options.memoryPoints); !opened)
            return opened;
        m_settled = m_outbox.empty();
        m_thread = std::thread([this] { run(); });
        return {};
    }

    void emit(const char* series, const Point& point) override {
        bool wake = false;
        {
            const std::lock_guard lock(m_mutex);
            auto found = m_points.find(std::string_view(series));
            if (found == m_points.end())
                found = m_points.emplace(series, std::vector<Point>()).first;
            found->second.push_back(point);
            ++m_counters.pointsEmitted;
            wake = noteEmission() || ++m_bufferedPoints == m_options.flushPoints;
        }
        if (wake)
            m_waker.notify();
    }
    void emit(Event event) override {
        if (event.key.run.empty())
            event.key = m_options.key;
        if (event.wallUs == 0)
            event.wallUs = nowUs();
        const std::lock_guard lock(m_mutex);
        m_events.push_back(std::move(event));
        if (noteEmission())
            m_waker.notify();
    }
    void emit(CommandOutcome outcome) override {
        const std::lock_guard lock(m_mutex);
        m_outcomeOf[outcome.id] = outcome;
        m_outcomes.push_back(std::move(outcome));
        if (noteEmission())
            m_waker.notify();
    }
    void setProgress(std::int64_t step, std::int64_t tokens, const std::string& phase) override {
        const std::lock_guard lock(m_mutex);
        m_phaseChanged = m_phaseChanged || phase != m_phase;
        m_step = step;
        m_tokens = tokens;
        m_phase = phase;
        if (m_phaseChanged)
            m_waker.notify();
    }
    std::vector<Command> takeCommands() override {
        const std::lock_guard lock(m_mutex);
        return std::exchange(m_commands, {});
    }
    bool flush(int timeoutMs) override {
        std::unique_lock lock(m_mutex);
        m_flushNow = true;
        m_waker.notify();
        m_changed.wait_for(lock, std::chrono::milliseconds(timeoutMs),
                           [this] { return bufferEmpty() && (m_settled || (m_offline && m_spilled)); });
        return bufferEmpty() && m_settled;
    }
    [[nodiscard]] LinkCounters counters() const override {
        const std::lock_guard lock(m_mutex);
        return m_counters;
    }

private:
    // Any thread, under m_mutex. True when the link thread must be woken to start the flush timer.
    bool noteEmission() {
        if (m_oldestUs != 0)
            return false;
        m_oldestUs = nowUs();
        m_flushAt = Clock::now() + std::chrono::milliseconds(m_options.flushMs);
        return true;
    }
    [[nodiscard]] bool bufferEmpty() const { return m_oldestUs == 0; }

    // Link thread from here on.
    void run() {
        bool stopping = false;
        while (!stopping) {
            poll();
            turn();
            const std::lock_guard lock(m_mutex);
            stopping = m_stopping;
        }
        leave();
    }
    void turn() {
        const auto now = Clock::now();
        if (!m_offline)
            serveConnection(now);
        seal(now);
        if (m_up && now >= m_sendAgainAt)
            sendPending(now);
        report(m_outbox.spill(m_offline ? Clock::duration::zero() : Clock::duration(kSpillAge)));
        publishCounters();
    }
    void poll();
    void serveConnection(Clock::time_point now);
    void sayHello(Clock::time_point now);
    void sendPulse(Clock::time_point now);
    void readFrames(Clock::time_point now);
    void handle(const std::vector<std::string>& frames, Clock::time_point now);
    void takeCommand(const Command& command);
    void seal(Clock::time_point now);
    void sendPending(Clock::time_point now);
    void settle(std::uint64_t points, Clock::time_point now);
    void report(const Result<void>& result) { m_spoolProblem = result ? std::string() : result.error().text(); }
    void publishCounters();
    void leave();

    // constant after construction
    const TrainerLinkOptions m_options;
    const bool m_offline;
    Waker m_waker;

    // guarded by m_mutex
    mutable std::mutex m_mutex;
    std::condition_variable m_changed;
    std::map<std::string, std::vector<Point>, std::less<>> m_points;
    std::size_t m_bufferedPoints = 0;
    std::vector<Event> m_events;
    std::vector<CommandOutcome> m_outcomes;
    std::int64_t m_oldestUs = 0; // emit time of the oldest content of the buffer, 0: it is empty
    Clock::time_point m_flushAt;
    std::vector<Command> m_commands;
    std::map<std::string, CommandOutcome> m_outcomeOf;
    std::int64_t m_step = 0, m_tokens = 0;
    std::string m_phase;
    bool m_phaseChanged = false;
    bool m_flushNow = false, m_stopping = false;
    bool m_settled = true;  // nothing sealed is unacked
    bool m_spilled = true;  // everything sealed is in the spool
    LinkCounters m_counters;

    // link thread only
    TrainerConnection m_connection;
    TrainerOutbox m_outbox;
    std::set<std::string> m_known;      // commands taken, by UUID
    bool m_up = false;                  // welcomed
    bool m_helloDue = false;
    Clock::time_point m_helloAt, m_nextPulse, m_lastHeard, m_lastProgress, m_sendAgainAt;
    std::uint64_t m_acked = 0, m_sent = 0, m_resent = 0, m_badFrames = 0;
    std::string m_refusal, m_spoolProblem;
    std::thread m_thread; // last: starts when all else stands
};

void ZmqTrainerLink::poll() {
    const auto now = Clock::now();
    auto until = now + (m_up ? 500ms : 100ms);
    {
        const std::lock_guard lock(m_mutex);
        if (m_oldestUs != 0)
            until = std::min(until, m_flushAt);
        if (m_flushNow || m_stopping || m_bufferedPoints >= m_options.flushPoints)
            until = now;
    }
    zmq_pollitem_t items[3] = {{nullptr, m_waker.fd(), ZMQ_POLLIN, 0}};
    int count = 1;
    if (m_connection.socket() != nullptr)
        items[count++] = {m_connection.socket(), 0, ZMQ_POLLIN, 0};
    if (m_connection.monitor() != nullptr)
        items[count++] = {m_connection.monitor(), 0, ZMQ_POLLIN, 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    zmq_poll(items, count, static_cast<long>(std::max<std::int64_t>(left, 0)));
    m_waker.drain();
}

void ZmqTrainerLink::serveConnection(Clock::time_point now) {
    switch (m_connection.update(now)) {
    case TrainerConnection::Change::Opened:
        m_helloDue = true;
        m_helloAt = m_lastHeard = now;
        break;
    case TrainerConnection::Change::Lost:
        m_up = m_helloDue = false;
        m_outbox.rewind();
        break;
    case TrainerConnection::Change::None: break;
    }
    readFrames(now);
    if (m_connection.open() && now - m_lastHeard > kSilenceLimit) {
        m_connection.drop(now, 100ms);
        m_up = m_helloDue = false;
        m_outbox.rewind();
    }
    if (m_helloDue && now >= m_helloAt)
        sayHello(now);
    if (m_up)
        sendPulse(now);
}

void ZmqTrainerLink::sayHello(Clock::time_point now) {
    TrainerHello hello{m_options.key, m_options.pid, m_options.ranks, hostName(), m_options.launcherNote, m_outbox.firstUnacked()};
    if (m_connection.send(FrameKind::Hello, bytesOf(hello)) != SendResult::Sent)
        return;
    m_helloDue = false;
    m_nextPulse = now;
}

void ZmqTrainerLink::sendPulse(Clock::time_point now) {
    v1::TrainerPulse pulse;
    {
        const std::lock_guard lock(m_mutex);
        if (now < m_nextPulse && !m_phaseChanged)
            return;
        m_phaseChanged = false;
        pulse.set_step(m_step);
        pulse.set_tokens(m_tokens);
        pulse.set_phase(mendUtf8(m_phase));
        pulse.set_points_emitted(m_counters.pointsEmitted);
    }
    m_connection.send(FrameKind::Pulse, pulse.SerializeAsString());
    m_nextPulse = now + kPulseEvery;
}

void ZmqTrainerLink::readFrames(Clock::time_point now) {
    std::vector<std::string> frames;
    while (m_connection.receive(frames))
        handle(frames, now);
}

void ZmqTrainerLink::handle(const std::vector<std::string>& frames, Clock::time_point now) {
    if (frames.size() != 3 || frames[0] != kLinkTag || frames[1].size() != 1) {
        ++m_badFrames;
        return;
    }
    const auto parse = [&](auto&& message) -> bool {
        const bool ok = message.ParseFromString(frames[2]);
        m_badFrames += ok ? 0 : 1;
        return ok;
    };
    m_lastHeard = now;
    switch (static_cast<FrameKind>(frames[1][0])) {
    case FrameKind::Welcome:
        if (v1::Welcome welcome; parse(welcome)) {
            m_up = true;
            m_refusal.clear();
            m_lastProgress = m_sendAgainAt = now;
            settle(m_outbox.welcome(welcome.last_sequence()), now);
        }
        return;
    case FrameKind::Ack:
        if (v1::Ack ack; parse(ack))
            settle(m_outbox.ack(ack.sequence()), now);
        return;
    case FrameKind::Nack:
        if (v1::Nack nack; parse(nack)) {
            m_refusal = nack.text();
            m_outbox.rewind();
            m_sendAgainAt = now + kRetryPause;
        }
        return;
    case FrameKind::Refusal:
        if (v1::Refusal refusal; parse(refusal)) {
            m_refusal = refusal.text();
            m_up = false;
            m_helloDue = true;
            m_helloAt = now + kRetryPause;
            m_outbox.rewind();
        }
        return;
    case FrameKind::Command: {
        v1::Command wire;
        Command command;
        if (parse(wire) && fromWire(wire, command))
            takeCommand(command);
        return;
    }
    case FrameKind::Pulse: return; // heard, which is all it says
    default: ++m_badFrames; return;
    }
}

void ZmqTrainerLink::takeCommand(const Command& command) {
    const bool isNew = m_known.insert(command.id).second;
    const std::lock_guard lock(m_mutex);
    if (isNew) {
        m_commands.push_back(command);
    } else if (const auto known = m_outcomeOf.find(command.id); known != m_outcomeOf.end()) {
        m_outcomes.push_back(known->second); // who asks again has not heard
        noteEmission();
    }
}

void ZmqTrainerLink::seal(Clock::time_point now) {
    TelemetryBatch batch;
    {
        const std::lock_guard lock(m_mutex);
        const bool due = m_flushNow || m_stopping || m_bufferedPoints >= m_options.flushPoints || now >= m_flushAt;
        m_flushNow = false;
        if (m_oldestUs == 0 || !due)
            return;
        batch.key = m_options.key;
        batch.emittedUs = std::exchange(m_oldestUs, 0);
        for (auto& [name, points] : m_points)
            if (!points.empty())
                batch.series.push_back({name, std::exchange(points, {})});
        m_bufferedPoints = 0;
        batch.events = std::exchange(m_events, {});
        batch.outcomes = std::exchange(m_outcomes, {});
        m_settled = m_spilled = false;
    }
    if (m_outbox.empty())
        m_lastProgress = now; // the wait for an ack begins here
    m_outbox.add(std::move(batch));
}

void ZmqTrainerLink::sendPending(Clock::time_point now) {
    if (m_outbox.inFlight() > 0 && now - m_lastProgress > kAckLimit) {
        m_outbox.rewind();
        m_lastProgress = now;
    }
    while (m_outbox.inFlight() < kMostInFlight) {
        const auto outgoing = m_outbox.next();
        if (!outgoing)
            return report(tl::unexpected(outgoing.error()));
        if (!*outgoing || m_connection.send(FrameKind::Batch, (*outgoing)->payload) != SendResult::Sent)
            return;
        m_outbox.sent();
        ++((*outgoing)->again ? m_resent : m_sent);
    }
}

void ZmqTrainerLink::settle(std::uint64_t points, Clock::time_point now) {
    m_lastProgress = now;
    m_acked += points;
    if (m_sendAgainAt <= now)
        m_refusal.clear();
}

void ZmqTrainerLink::publishCounters() {
    const std::lock_guard lock(m_mutex);
    m_settled = m_outbox.empty();
    m_spilled = m_offline && m_spoolProblem.empty();
    m_counters.pointsAcked = m_acked;
    m_counters.pointsSpooled = m_outbox.pointsSpooled();
    m_counters.batchesSent = m_sent;
    m_counters.batchesResent = m_resent;
    m_counters.badFrames = m_badFrames;
    m_counters.connected = m_up;
    m_counters.problem = !m_spoolProblem.empty() ? m_spoolProblem : !m_refusal.empty() ? m_refusal : m_up || m_offline ? "" : m_connection.problem();
    m_changed.notify_all();
}

void ZmqTrainerLink::leave() {
    const auto until = Clock::now() + kGoodbyeLimit;
    {
        const std::lock_guard lock(m_mutex);
        m_stopping = false; // else poll() would not wait
        m_flushNow = true;  // what was emitted last
    }
    turn();
    while (!m_offline && !m_outbox.empty() && Clock::now() < until) {
        poll();
        turn();
    }
    report(m_outbox.spill(Clock::duration::zero()));
    if (!m_outbox.empty())
        report(m_outbox.sync());
    if (m_up) {
        m_connection.send(FrameKind::Goodbye, v1::TrainerGoodbye().SerializeAsString());
        m_connection.setLinger(500);
    }
    publishCounters();
}

Result<std::unique_ptr<TrainerLink>> make(TrainerLinkOptions&& options, bool offline) {
    auto link = std::make_unique<ZmqTrainerLink>(std::move(options), offline);
    if (auto started = link->start(); !started)
        return tl::unexpected(started.error());
    return link;
}

} // namespace

Result<std::unique_ptr<TrainerLink>> makeTrainerLink(TrainerLinkOptions options) { return make(std::move(options), false); }

Result<std::unique_ptr<TrainerLink>> makeOfflineTrainerLink(TrainerLinkOptions options) { return make(std::move(options), true); }

} // namespace telehelm::ipc
