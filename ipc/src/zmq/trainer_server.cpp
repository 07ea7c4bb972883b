// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include <zmq.h>

#include "convert/convert.h"
#include "telehelm/ipc/trainer_link.h"
#include "zmq/link_frames.h"
#include "zmq/socket.h"

namespace telehelm::ipc {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kSilenceLimit = 10s; // a trainer pulses once a second

class ZmqTrainerLinkServer final : public TrainerLinkServer {
public:
    explicit ZmqTrainerLinkServer(TrainerHandler& handler) : m_handler(handler), m_socket(m_context, ZMQ_ROUTER) {
        m_socket.setOption(ZMQ_ROUTER_MANDATORY, 1); // a lost peer is told, not swallowed
        m_socket.setOption(ZMQ_RCVHWM, 4096);
        m_socket.setOption(ZMQ_SNDHWM, 4096);
    }
    ~ZmqTrainerLinkServer() override {
        m_stopping = true;
        m_waker.notify();
        if (m_thread.joinable())
            m_thread.join();
    }
    Result<void> start(const std::string& endpoint) {
        return m_socket.bind(endpoint).map([this] {
            m_endpoint = m_socket.lastEndpoint();
            m_thread = std::thread([this] { run(); });
        });
    }

    [[nodiscard]] std::string endpoint() const override { return m_endpoint; }
    bool send(const AttemptKey& key, const Command& command) override {
        v1::Command wire;
        toWire(command, wire);
        return post(key, FrameKind::Command, wire.SerializeAsString());
    }
    void ack(const AttemptKey& key, std::uint64_t sequence) override {
        v1::Ack wire;
        wire.set_sequence(sequence);
        post(key, FrameKind::Ack, wire.SerializeAsString(), sequence);
    }
    [[nodiscard]] bool connected(const AttemptKey& key) const override {
        const std::lock_guard lock(m_mutex);
        return m_connected.contains(key);
    }
    [[nodiscard]] std::uint64_t badFrames() const override { return m_badFrames; }

private:
    struct Peer {
        AttemptKey key;
        Clock::time_point lastHeard;
        std::uint64_t expected = 1; // sequence number of the next batch
        bool nacked = false;        // batches are ignored until `expected` comes again
    };
    struct Letter {
        std::string identity;
        FrameKind kind;
        std::string payload;
        std::uint64_t acked = 0; // of an ack
    };
    using Peers = std::map<std::string, Peer>; // by ZeroMQ identity

    // Any thread: the socket belongs to the link thread, so letters wait there for it.
    bool post(const AttemptKey& key, FrameKind kind, std::string payload, std::uint64_t acked = 0) {
        {
            const std::lock_guard lock(m_mutex);
            const auto found = m_connected.find(key);
            if (found == m_connected.end())
                return false;
            m_outgoing.push_back({found->second, kind, std::move(payload), acked});
        }
        m_waker.notify();
        return true;
    }

    // Link thread from here on.
    void run();
    void receiveAll();
    void handle(const std::vector<std::string>& frames);
    void onHello(const std::string& identity, const v1::TrainerHello& wire);
    void onBatch(Peers::iterator peer, const std::string& payload);
    void onPulse(const Peers::iterator& peer, const std::string& payload);
    void sendWaiting();
    void dropSilent();
    void forget(Peers::iterator peer, bool goodbye);
    void refuse(const std::string& identity, const std::string& text);
    void nack(Peers::iterator peer, const std::string& text);
    void bad(const std::string& what);
    bool deliver(const std::string& identity, FrameKind kind, std::string_view payload);

    // constant after start()
    TrainerHandler& m_handler;
    std::string m_endpoint;
    Waker m_waker;
    std::atomic<bool> m_stopping{false};
    std::atomic<std::uint64_t> m_badFrames{0};

    // guarded by m_mutex
    mutable std::mutex m_mutex;
    std::map<AttemptKey, std::string> m_connected; // → identity
    std::vector<Letter> m_outgoing;

    // link thread only
    ZmqContext m_context;
    ZmqSocket m_socket;
    Peers m_peers;
    Clock::time_point m_nextLook;
    std::thread m_thread; // last: starts when all else stands
};

void ZmqTrainerLinkServer::run() {
    while (!m_stopping) {
        zmq_pollitem_t items[] = {{m_socket.handle(), 0, ZMQ_POLLIN, 0}, {nullptr, m_waker.fd(), ZMQ_POLLIN, 0}};
        zmq_poll(items, 2, 500);
        m_waker.drain();
        receiveAll();
        sendWaiting();
        dropSilent();
    }
    sendWaiting();
}

void ZmqTrainerLinkServer::receiveAll() {
    std::vector<std::string> frames;
    // Bounded, so that acks go out while a fast trainer keeps the socket full.
    for (int i = 0; i < 256 && !m_stopping && m_socket.receive(frames); ++i)
        handle(frames);
}

void ZmqTrainerLinkServer::handle(const std::vector<std::string>& frames) {
    if (frames.size() != 4 || frames[2].size() != 1)
        return bad("a message of " + std::to_string(frames.size()) + " frames instead of identity, tag, kind, body");
    if (frames[1] != kLinkTag) {
        bad("a message tagged “" + mendUtf8(frames[1].substr(0, 40)) + "” instead of “" + std::string(kLinkTag) + "”");
        return refuse(frames[0], "this daemon speaks " + std::string(kLinkTag) + "; use programs of the same Telehelm release");
    }
    const auto kind = static_cast<FrameKind>(frames[2][0]);
    if (kind == FrameKind::Hello) {
        v1::TrainerHello hello;
        return hello.ParseFromString(frames[3]) ? onHello(frames[0], hello) : bad("a hello that cannot be read");
    }
    const auto peer = m_peers.find(frames[0]);
    if (peer == m_peers.end()) {
        bad("a message of kind “" + mendUtf8(frames[2]) + "” before any hello");
        return refuse(frames[0], "say hello first");
    }
    peer->second.lastHeard = Clock::now();
    switch (kind) {
    case FrameKind::Batch: return onBatch(peer, frames[3]);
    case FrameKind::Pulse: return onPulse(peer, frames[3]);
    case FrameKind::Goodbye: return forget(peer, true);
    default: return bad("a message of unknown kind “" + mendUtf8(frames[2]) + "”");
    }
}

void ZmqTrainerLinkServer::onHello(const std::string& identity, const v1::TrainerHello& wire) {
    TrainerHello hello;
    fromWire(wire, hello);
    if (wire.protocol() != kLinkVersion)
        return refuse(identity, "this daemon speaks link version " + std::to_string(kLinkVersion) + ", the trainer version " +
                                    std::to_string(wire.protocol()) + "; use programs of the same Telehelm release");
    {
        // Connected already now, so that the handler may send commands from within onHello().
        const std::lock_guard lock(m_mutex);
        std::string& current = m_connected[hello.key];
        if (!current.empty() && current != identity)
            m_peers.erase(current); // the same trainer's dead connection
        current = identity;
    }
    m_peers[identity] = {hello.key, Clock::now(), 1, false};
    const auto lastStored = m_handler.onHello(hello);
    if (!lastStored) {
        {
            const std::lock_guard lock(m_mutex);
            m_connected.erase(hello.key);
            std::erase_if(m_outgoing, [&](const Letter& letter) { return letter.identity == identity; });
        }
        m_peers.erase(identity);
        return refuse(identity, lastStored.error().text());
    }
    m_peers[identity].expected = *lastStored + 1;
    // A trainer whose oldest batch is younger than what we hold has given the ones between to a store that is gone.
    if (hello.firstUnacked > *lastStored + 1)
        m_peers[identity].expected = hello.firstUnacked;
    v1::Welcome welcome;
    welcome.set_last_sequence(*lastStored);
    deliver(identity, FrameKind::Welcome, welcome.SerializeAsString());
}

void ZmqTrainerLinkServer::onBatch(Peers::iterator peer, const std::string& payload) {
    v1::TelemetryBatch wire;
    TelemetryBatch batch;
    if (!wire.ParseFromString(payload))
        return bad(peer->second.key.run + ": a batch of " + std::to_string(payload.size()) + " bytes that cannot be read");
    if (auto ok = fromWire(wire, batch); !ok)
        return bad(peer->second.key.run + ": " + ok.error().text());
    if (batch.key != peer->second.key)
        return bad(peer->second.key.run + ": a batch of another attempt, " + batch.key.run + "/" + std::to_string(batch.key.attempt));
    const std::uint64_t sequence = batch.sequence;
    if (sequence > peer->second.expected) { // one before it could not be taken
        if (!peer->second.nacked)
            nack(peer, "batch " + std::to_string(peer->second.expected) + " is missing");
        return;
    }
    const AttemptKey key = batch.key;
    const auto stored = m_handler.onBatch(std::move(batch));
    if (!stored) {
        peer->second.expected = sequence;
        return nack(peer, stored.error().text());
    }
    peer->second.nacked = false;
    peer->second.expected = std::max(peer->second.expected, sequence + 1);
    if (*stored > 0)
        ack(key, *stored);
}

void ZmqTrainerLinkServer::onPulse(const Peers::iterator& peer, const std::string& payload) {
    v1::TrainerPulse pulse;
    if (!pulse.ParseFromString(payload))
        return bad(peer->second.key.run + ": a pulse that cannot be read");
    deliver(peer->first, FrameKind::Pulse, v1::DaemonPulse().SerializeAsString());
    m_handler.onHeartbeat({peer->second.key, pulse.step(), pulse.tokens(), pulse.phase(), pulse.points_emitted()});
}

void ZmqTrainerLinkServer::sendWaiting() {
    std::vector<Letter> letters;
    {
        const std::lock_guard lock(m_mutex);
        letters.swap(m_outgoing);
    }
    for (const Letter& letter : letters) {
        // What was refused the second time, because it waited here from the first, will not be sent a third time.
        if (const auto peer = m_peers.find(letter.identity); peer != m_peers.end())
            peer->second.expected = std::max(peer->second.expected, letter.acked + 1);
        deliver(letter.identity, letter.kind, letter.payload);
    }
}

void ZmqTrainerLinkServer::dropSilent() {
    const auto now = Clock::now();
    if (now < m_nextLook)
        return;
    m_nextLook = now + 1s;
    for (auto peer = m_peers.begin(); peer != m_peers.end();) {
        const auto next = std::next(peer);
        if (now - peer->second.lastHeard > kSilenceLimit)
            forget(peer, false);
        peer = next;
    }
}

void ZmqTrainerLinkServer::forget(Peers::iterator peer, bool goodbye) {
    const AttemptKey key = peer->second.key;
    {
        const std::lock_guard lock(m_mutex);
        if (const auto found = m_connected.find(key); found != m_connected.end() && found->second == peer->first)
            m_connected.erase(found);
    }
    m_peers.erase(peer);
    m_handler.onGone(key, goodbye);
}

void ZmqTrainerLinkServer::refuse(const std::string& identity, const std::string& text) {
    v1::Refusal refusal;
    refusal.set_text(mendUtf8(text));
    deliver(identity, FrameKind::Refusal, refusal.SerializeAsString());
}

void ZmqTrainerLinkServer::nack(Peers::iterator peer, const std::string& text) {
    peer->second.nacked = true;
    v1::Nack wire;
    wire.set_sequence(peer->second.expected);
    wire.set_text(mendUtf8(text));
    deliver(peer->first, FrameKind::Nack, wire.SerializeAsString());
}

void ZmqTrainerLinkServer::bad(const std::string& what) {
    ++m_badFrames;
    m_handler.onBadFrame({ErrorCode::DataLoss, what, m_endpoint});
}

bool ZmqTrainerLinkServer::deliver(const std::string& identity, FrameKind kind, std::string_view payload) {
    const char letter = static_cast<char>(kind);
    return m_socket.send({identity, kLinkTag, {&letter, 1}, payload}) == SendResult::Sent;
}

} // namespace

Result<std::unique_ptr<TrainerLinkServer>> serveTrainers(TrainerHandler& handler, const std::string& endpoint) {
    auto server = std::make_unique<ZmqTrainerLinkServer>(handler);
    if (auto started = server->start(endpoint); !started)
        return tl::unexpected(started.error());
    return server;
}

} // namespace telehelm::ipc
