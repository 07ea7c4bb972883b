// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/watch_worker.h"

namespace telehelm::app {

WatchWorker::WatchWorker(std::shared_ptr<ipc::ControlApi> api, Callbacks callbacks)
    : m_api(std::move(api)), m_callbacks(std::move(callbacks)), m_thread([this] { loop(); }) {}

WatchWorker::~WatchWorker() {
    requestStop();
    m_thread.join();
}

void WatchWorker::requestStop() {
    const std::lock_guard lock(m_mutex);
    m_stop = true;
    m_wake.notify_all();
}

void WatchWorker::beginNow() {
    const std::lock_guard lock(m_mutex);
    m_kick = true;
    m_wake.notify_all();
}

bool WatchWorker::waitForTurn(std::chrono::milliseconds wait) {
    std::unique_lock lock(m_mutex);
    m_wake.wait_for(lock, wait, [this] { return m_kick || m_stop; });
    m_kick = false;
    return !m_stop;
}

void WatchWorker::loop() {
    // The first turn comes with beginNow(), when the daemon has answered hello.
    while (waitForTurn(m_backOff.next())) {
        bool began = false;
        const auto ended = m_api->watch({}, [&](ipc::WatchUpdate&& update) {
            if (m_stop)
                return false;
            if (!began) {
                began = true;
                m_backOff.reset();
                m_callbacks.began();
            }
            if (update.run || update.event || update.command || update.deleted)
                m_callbacks.update(std::move(update));
            return !m_stop.load();
        });
        if (m_stop)
            return;
        m_callbacks.broken(ended ? Error{ErrorCode::Unavailable, "the daemon ended the watch stream", {}} : ended.error());
    }
}

} // namespace telehelm::app
