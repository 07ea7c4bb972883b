// SPDX-License-Identifier: Apache-2.0
// Trainer ↔ daemon over ZeroMQ DEALER/ROUTER: telemetry up with sequence numbers and acks, commands down, outcomes up.
// A trainer is whatever speaks this (frames and messages: ipc/README.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"

namespace telehelm::ipc {

struct TrainerLinkOptions {
    std::string endpoint;           // of the daemon's ROUTER; may change when it restarts: see endpointFile
    std::filesystem::path endpointFile; // the daemon writes its current endpoint here; read again when the link is down
    AttemptKey key;
    std::filesystem::path spoolFile; // points that are not acked survive the trainer's death here
    std::int32_t pid = 0;            // of rank 0
    std::int32_t ranks = 1;
    std::string launcherNote;        // "mpirun pid 4711"
    int flushMs = 20;
    std::size_t flushPoints = 512;
    std::size_t memoryPoints = 1 << 20; // more unacked points than this go to the spool file
};

struct LinkCounters {
    std::uint64_t pointsEmitted = 0, pointsAcked = 0, pointsSpooled = 0;
    std::uint64_t batchesSent = 0, batchesResent = 0;
    std::uint64_t badFrames = 0; // from the daemon, not understood
    bool connected = false;
    std::string problem;         // why the link is down or the spool cannot be written; empty when all is well
};

/// The trainer's end. emit*() may be called from the trainer thread only; they never block and never fail: what cannot
/// be sent now is kept. Serialising, sending and spooling live on the link's own thread.
class TrainerLink {
public:
    virtual ~TrainerLink() = default; // flushes to the spool, waits at most 2 s for acks
    virtual void emit(const char* series, const Point& point) = 0;
    virtual void emit(Event event) = 0; // key and time are filled in where they are empty
    virtual void emit(CommandOutcome outcome) = 0;
    /// Progress for the heartbeat, which the link sends once a second: "step", "validating", "saving", "paused".
    virtual void setProgress(std::int64_t step, std::int64_t tokens, const std::string& phase) = 0;
    /// Commands that came since the last call, each UUID once for the life of the link.
    virtual std::vector<Command> takeCommands() = 0;
    /// Waits until everything emitted is acked or `timeoutMs` is over; true when all is acked.
    virtual bool flush(int timeoutMs) = 0;
    [[nodiscard]] virtual LinkCounters counters() const = 0;
};
/// Replays an existing spool of the same attempt first. Fails only when the spool's folder cannot be written.
[[nodiscard]] Result<std::unique_ptr<TrainerLink>> makeTrainerLink(TrainerLinkOptions options);
/// For runs without a daemon: everything goes to the spool, nothing is sent; a later daemon can take it from there.
[[nodiscard]] Result<std::unique_ptr<TrainerLink>> makeOfflineTrainerLink(TrainerLinkOptions options);

struct TrainerHello {
    AttemptKey key;
    std::int32_t pid = 0;
    std::int32_t ranks = 1;
    std::string host;
    std::string launcherNote;
    std::uint64_t firstUnacked = 0; // sequence number of the oldest batch it still holds
};
struct TrainerHeartbeat {
    AttemptKey key;
    std::int64_t step = 0, tokens = 0;
    std::string phase;
    std::uint64_t pointsEmitted = 0;
};

/// What the daemon does with a trainer's messages; called on the link server's own thread, one at a time.
class TrainerHandler {
public:
    virtual ~TrainerHandler() = default;
    /// The highest sequence number durably stored for this attempt (0: none), or why the trainer is refused.
    virtual Result<std::uint64_t> onHello(const TrainerHello& hello) = 0;
    /// Returns the sequence number to ack when the batch is durable (an already stored one is acked again), or an
    /// Error when it could not be stored: nothing is acked and the trainer keeps it. May return 0 = "ack later":
    /// then call TrainerLinkServer::ack() once the group commit is done.
    virtual Result<std::uint64_t> onBatch(TelemetryBatch&& batch) = 0;
    virtual void onHeartbeat(const TrainerHeartbeat& beat) = 0;
    /// No message for 10 s, or a goodbye.
    virtual void onGone(const AttemptKey& key, bool goodbye) = 0;
    /// A frame that cannot be understood was dropped (and is counted by badFrames()); for the log.
    virtual void onBadFrame(const Error& /*error*/) {}
};

class TrainerLinkServer {
public:
    virtual ~TrainerLinkServer() = default;
    [[nodiscard]] virtual std::string endpoint() const = 0;
    /// Any thread. False when no trainer of that attempt is connected: send again from onHello().
    virtual bool send(const AttemptKey& key, const Command& command) = 0;
    virtual void ack(const AttemptKey& key, std::uint64_t sequence) = 0; // any thread
    [[nodiscard]] virtual bool connected(const AttemptKey& key) const = 0;
    [[nodiscard]] virtual std::uint64_t badFrames() const = 0; // any thread
};
/// `endpoint` "tcp://127.0.0.1:*" binds any free port; other than loopback is refused until CURVE is built.
[[nodiscard]] Result<std::unique_ptr<TrainerLinkServer>> serveTrainers(TrainerHandler& handler, const std::string& endpoint);

} // namespace telehelm::ipc
