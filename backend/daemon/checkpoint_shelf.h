// SPDX-License-Identifier: Apache-2.0
// The checkpoints that lie on disk, read from their manifests; each is checked against its checksums in the background, again
// when a file of it has changed.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"

namespace telehelm::daemon {

/// Any thread.
class CheckpointShelf {
public:
    /// `onDamage` is called on the shelf's thread for a checkpoint whose files do not match.
    explicit CheckpointShelf(std::function<void(const ipc::CheckpointInfo&)> onDamage);
    ~CheckpointShelf();
    CheckpointShelf(const CheckpointShelf&) = delete;
    CheckpointShelf& operator=(const CheckpointShelf&) = delete;

    /// Newest first. Those not verified yet are queued for it.
    [[nodiscard]] std::vector<ipc::CheckpointInfo> list(const std::string& run, const std::filesystem::path& checkpointDir);
    /// Reads every file now, whatever is known; `damage` says what is wrong.
    [[nodiscard]] ipc::CheckpointInfo verified(ipc::CheckpointInfo checkpoint);
    /// What lies below the folder is on its way out.
    void forget(const std::filesystem::path& folder);

private:
    struct Verdict {
        std::string damage; // empty: fine
        std::string stamp;  // names, sizes and times of the files that were read
    };
    void run();
    void look(ipc::CheckpointInfo& checkpoint);

    const std::function<void(const ipc::CheckpointInfo&)> m_onDamage; // constant after construction
    std::mutex m_mutex;
    std::condition_variable m_wake;
    std::map<std::string, Verdict> m_verdicts;      // guarded by m_mutex; by path
    std::deque<ipc::CheckpointInfo> m_waiting;      // guarded by m_mutex
    bool m_stopping = false;                        // guarded by m_mutex
    std::thread m_thread;
};

} // namespace telehelm::daemon
