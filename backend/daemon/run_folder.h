// SPDX-License-Identifier: Apache-2.0
// Folders of runs, and how they go: renamed aside first, to a name that no run can have, and removed from there.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::daemon {

inline constexpr const char* kCheckpoints = "checkpoints"; // in a run's folder

/// It is the name of a folder, too.
[[nodiscard]] bool canNameRun(const std::string& name);
/// For a new run: its name, or with "-2", "-3", … where that one is another run's or holds the checkpoints that a deleted run has left.
[[nodiscard]] std::string freeFolder(const std::filesystem::path& runs, const std::string& name, const std::function<bool(const std::string&)>& isUsed);

/// `.deleted-<id>-<folder>`
struct FolderAside {
    std::filesystem::path path;
    std::string id, folder; // of the deletion; that it was before
};
[[nodiscard]] std::vector<FolderAside> foldersAside(const std::filesystem::path& runs);
/// Durable when it returns. Without its checkpoints where they are kept: those stay, under the path that others may know. On an Error
/// everything is where it was.
[[nodiscard]] Result<FolderAside> setAside(const std::filesystem::path& runs, const std::string& folder, const std::string& id, bool keepCheckpoints);
/// The run was not deleted after all.
[[nodiscard]] Result<void> putBack(const FolderAside& aside);
/// File by file, until `isStopping`.
[[nodiscard]] Result<void> removeAside(const FolderAside& aside, const std::function<bool()>& isStopping);

} // namespace telehelm::daemon
