// SPDX-License-Identifier: Apache-2.0
// What is accepted when: pure functions, so that every refusal can be tested and read in one place.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::daemon {

/// What a command is judged by.
struct CommandContext {
    ipc::AttemptState state = ipc::AttemptState::Starting; // of the newest attempt
    std::string stateText;
    std::uint32_t newestAttempt = 0;
    std::int64_t step = 0;             // its newest finished step
    std::vector<std::string> domains;  // of the corpus
    bool isRestarting = false;
    std::optional<ipc::RunOrigin> origin; // the run was imported
    std::string importedCheckpoint;       // the newest in the folder that it came from; empty: it has none
    bool hasPendingRetry = false;      // the daemon is about to restart it by itself
};

/// Why the command cannot be accepted and what would be, in one or two sentences; nothing when it can.
/// Restart's checkpoint is looked at by the caller.
[[nodiscard]] std::optional<std::string> refusal(const ipc::Command& command, const CommandContext& context);

} // namespace telehelm::daemon
