// SPDX-License-Identifier: Apache-2.0
#include "daemon/watch_hub.h"

#include <chrono>

namespace telehelm::daemon {

std::optional<ipc::WatchUpdate> WatchHub::Watcher::next(int timeoutMs) {
    std::unique_lock lock(m_mutex);
    if (!m_wake.wait_for(lock, std::chrono::milliseconds(timeoutMs), [&] { return !m_queue.empty(); }))
        return std::nullopt;
    ipc::WatchUpdate update = std::move(m_queue.front());
    m_queue.pop_front();
    return update;
}

void WatchHub::Watcher::push(const ipc::WatchUpdate& update) {
    {
        const std::lock_guard lock(m_mutex);
        // A run's state replaces its older one at the end of the queue: only the newest matters.
        if (update.run && !m_queue.empty() && m_queue.back().run && m_queue.back().run->run == update.run->run)
            m_queue.back() = update;
        else
            m_queue.push_back(update);
    }
    m_wake.notify_one();
}

std::shared_ptr<WatchHub::Watcher> WatchHub::subscribe(const std::string& run) {
    auto watcher = std::make_shared<Watcher>(run);
    const std::lock_guard lock(m_mutex);
    m_watchers.push_back(watcher);
    return watcher;
}

void WatchHub::publish(const std::string& run, const ipc::WatchUpdate& update) {
    const std::lock_guard lock(m_mutex);
    std::erase_if(m_watchers, [&](const std::weak_ptr<Watcher>& weak) {
        const auto watcher = weak.lock();
        if (watcher && (watcher->m_run.empty() || watcher->m_run == run))
            watcher->push(update);
        return !watcher;
    });
}

} // namespace telehelm::daemon
