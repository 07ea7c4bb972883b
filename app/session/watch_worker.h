// SPDX-License-Identifier: GPL-3.0-or-later
// The thread that sits in ControlApi::watch() and hands each change on; begins again after a break. Callbacks: on its own thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "session/back_off.h"
#include "telehelm/ipc/control_api.h"

namespace telehelm::app {

class WatchWorker {
public:
    struct Callbacks {
        std::function<void()> began; // the stream stands: what is asked from now on cannot miss a change
        std::function<void(ipc::WatchUpdate&&)> update;
        std::function<void(const Error&)> broken;
    };
    WatchWorker(std::shared_ptr<ipc::ControlApi> api, Callbacks callbacks);
    ~WatchWorker(); // stops and joins: within the 2 s in which watch() must call its sink
    void beginNow();
    void requestStop();

private:
    void loop();
    bool waitForTurn(std::chrono::milliseconds wait);

    const std::shared_ptr<ipc::ControlApi> m_api;
    const Callbacks m_callbacks;
    std::atomic<bool> m_stop{false};
    std::mutex m_mutex;
    std::condition_variable m_wake;
    bool m_kick = false; // guarded by m_mutex
    BackOff m_backOff;   // worker thread only
    std::thread m_thread;
};

} // namespace telehelm::app
