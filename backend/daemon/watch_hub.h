// SPDX-License-Identifier: Apache-2.0
// Hands changes to those who watch. A slow watcher delays nobody: each has its own queue.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "telehelm/ipc/control_api.h"

namespace telehelm::daemon {

/// Any thread.
class WatchHub {
public:
    class Watcher {
    public:
        explicit Watcher(std::string run) : m_run(std::move(run)) {}
        /// The next change, or nothing within the time.
        [[nodiscard]] std::optional<ipc::WatchUpdate> next(int timeoutMs);

    private:
        friend class WatchHub;
        void push(const ipc::WatchUpdate& update);
        const std::string m_run; // empty: all
        std::mutex m_mutex;
        std::condition_variable m_wake;
        std::deque<ipc::WatchUpdate> m_queue; // guarded by m_mutex
    };

    /// Changes after this call reach the watcher as long as it lives.
    [[nodiscard]] std::shared_ptr<Watcher> subscribe(const std::string& run);
    void publish(const std::string& run, const ipc::WatchUpdate& update);

private:
    std::mutex m_mutex;
    std::vector<std::weak_ptr<Watcher>> m_watchers; // guarded by m_mutex
};

} // namespace telehelm::daemon
