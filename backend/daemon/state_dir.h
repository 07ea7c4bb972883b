// SPDX-License-Identifier: Apache-2.0
// The folder in which a daemon keeps everything, and the lock that makes it the only one there.
#pragma once

#include <filesystem>
#include <string>

#include "telehelm/ipc/result.h"

namespace telehelm::daemon {

/// $XDG_STATE_HOME/telehelm, ~/.local/state/telehelm without it.
[[nodiscard]] std::filesystem::path defaultStateDir();

/// Writes a file so that readers see the old text or the new one, and it survives a crash.
[[nodiscard]] Result<void> writeFileAtomically(const std::filesystem::path& file, const std::string& text);

/// Held as long as the object lives; the lock goes with the process, however it ends.
class StateDir {
public:
    /// Makes the folder; refuses when it cannot be written or another daemon has it.
    static Result<StateDir> lock(const std::filesystem::path& dir);
    StateDir(StateDir&& other) noexcept : m_dir(std::move(other.m_dir)), m_fd(other.m_fd) { other.m_fd = -1; }
    StateDir(const StateDir&) = delete;
    StateDir& operator=(const StateDir&) = delete;
    StateDir& operator=(StateDir&&) = delete;
    ~StateDir();

    [[nodiscard]] const std::filesystem::path& path() const { return m_dir; }

private:
    StateDir(std::filesystem::path dir, int fd) : m_dir(std::move(dir)), m_fd(fd) {}
    std::filesystem::path m_dir;
    int m_fd;
};

/// What daemon.json tells clients on this machine.
struct DaemonCard {
    std::string control, live, link, epoch;
};
[[nodiscard]] Result<void> writeDaemonCard(const std::filesystem::path& dir, const DaemonCard& card);
void removeDaemonCard(const std::filesystem::path& dir);

} // namespace telehelm::daemon
