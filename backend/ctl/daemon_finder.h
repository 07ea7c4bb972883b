// SPDX-License-Identifier: Apache-2.0
// Where the local daemon listens, and how it is started.
#pragma once

#include <filesystem>
#include <string>

#include "telehelm/ipc/result.h"

namespace telehelm::ctl {

/// $XDG_STATE_HOME/telehelm, ~/.local/state/telehelm without it.
[[nodiscard]] std::filesystem::path defaultStateDir();

struct DaemonCard {
    int pid = 0;
    std::string control; // "127.0.0.1:7443"
};
/// From <state>/daemon.json; Unavailable with the remedy when there is none.
[[nodiscard]] Result<DaemonCard> readDaemonCard(const std::filesystem::path& stateDir);

/// Launches telehelmd, detached, its log in <state>/telehelmd.log, and waits until it answers.
[[nodiscard]] Result<DaemonCard> launchDaemon(const std::filesystem::path& stateDir, bool anyPort);

} // namespace telehelm::ctl
