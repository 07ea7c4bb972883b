// SPDX-License-Identifier: Apache-2.0
#include "telehelm/ipc/types.h"

#include <array>
#include <chrono>
#include <random>

namespace telehelm::ipc {

std::size_t pointCount(const TelemetryBatch& batch) {
    std::size_t count = 0;
    for (const SeriesBlock& block : batch.series)
        count += block.points.size();
    return count;
}

bool isLive(AttemptState state) { return state >= AttemptState::Starting && state <= AttemptState::Stopping; }

const char* name(CommandKind kind) {
    switch (kind) {
    case CommandKind::Pause: return "pause";
    case CommandKind::Resume: return "resume";
    case CommandKind::Stop: return "stop";
    case CommandKind::Checkpoint: return "checkpoint";
    case CommandKind::SetMixture: return "set_mixture";
    case CommandKind::SetLrScale: return "set_lr_scale";
    case CommandKind::Restart: return "restart";
    }
    return "unknown";
}

const char* name(CommandState state) {
    switch (state) {
    case CommandState::Requested: return "requested";
    case CommandState::Accepted: return "accepted";
    case CommandState::Applied: return "applied";
    case CommandState::Rejected: return "rejected";
    case CommandState::Failed: return "failed";
    }
    return "unknown";
}

const char* name(AttemptState state) {
    switch (state) {
    case AttemptState::Starting: return "starting";
    case AttemptState::Running: return "running";
    case AttemptState::Pausing: return "pausing";
    case AttemptState::Paused: return "paused";
    case AttemptState::Stopping: return "stopping";
    case AttemptState::Finished: return "finished";
    case AttemptState::Stopped: return "stopped";
    case AttemptState::Failed: return "failed";
    case AttemptState::Lost: return "lost";
    case AttemptState::Superseded: return "superseded";
    }
    return "unknown";
}

const char* name(EventKind kind) {
    switch (kind) {
    case EventKind::AttemptStarted: return "attempt_started";
    case EventKind::AttemptEnded: return "attempt_ended";
    case EventKind::CheckpointSaved: return "checkpoint_saved";
    case EventKind::CheckpointDamaged: return "checkpoint_damaged";
    case EventKind::MixtureChanged: return "mixture_changed";
    case EventKind::CommandUpdated: return "command_updated";
    case EventKind::RankFailed: return "rank_failed";
    case EventKind::HeartbeatLost: return "heartbeat_lost";
    case EventKind::StepSkipped: return "step_skipped";
    case EventKind::LinkLost: return "link_lost";
    case EventKind::LinkRestored: return "link_restored";
    case EventKind::WatchVerdict: return "watch_verdict";
    case EventKind::Note: return "note";
    }
    return "unknown";
}

const char* name(Severity severity) {
    switch (severity) {
    case Severity::Info: return "info";
    case Severity::Benign: return "benign";
    case Severity::Warning: return "warning";
    case Severity::Critical: return "critical";
    }
    return "unknown";
}

std::int64_t nowUs() {
    using namespace std::chrono;
    return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

std::string newUuid() {
    // RFC 4122 version 4. A fresh random_device reads the kernel's generator, so forked processes cannot collide.
    std::random_device random;
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
        const std::uint32_t word = random();
        for (std::size_t k = 0; k < 4; ++k)
            bytes[i + k] = static_cast<std::uint8_t>(word >> (8 * k));
    }
    bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);
    bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);

    static constexpr char kHex[] = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += kHex[bytes[i] >> 4];
        text += kHex[bytes[i] & 0x0f];
    }
    return text;
}

} // namespace telehelm::ipc
