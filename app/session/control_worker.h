// SPDX-License-Identifier: GPL-3.0-or-later
// The thread of all blocking control calls: one after the other, in the order asked. Says hello every 2 s to measure the round
// trip and to notice a daemon that went or was restarted. Public members: any thread. Callbacks: on the worker's own thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "session/back_off.h"
#include "session/session.h"

namespace telehelm::app {

class ControlWorker {
public:
    struct Callbacks {
        std::function<void(const LinkStatus&)> linkChanged;
        std::function<void(const ipc::HelloInfo&)> greeted; // connected, connected again, or the daemon has a new epoch
    };
    /// `api` is null when the link is down (`why` says so). Returns false when the peer turned out to be away.
    using Job = std::function<bool(ipc::ControlApi* api, const Error& why)>;

    ControlWorker(std::shared_ptr<ipc::ControlApi> api, Callbacks callbacks);
    ~ControlWorker(); // stops and joins
    void enqueue(Job job);
    void checkNow(); // ping, or try to connect, without waiting for the back-off
    void requestStop();

private:
    using Clock = std::chrono::steady_clock;
    void loop();
    void checkLink();
    void runJob(const Job& job);
    void noteDown(const Error& why);

    // Constant after construction.
    const std::shared_ptr<ipc::ControlApi> m_api;
    const Callbacks m_callbacks;

    // Guarded by m_mutex.
    std::mutex m_mutex;
    std::condition_variable m_wake;
    std::deque<Job> m_jobs;
    Clock::time_point m_nextCheck = Clock::now();
    bool m_stop = false;

    // Worker thread only.
    LinkStatus m_status;
    std::string m_epoch;
    Error m_why;
    BackOff m_backOff;

    std::thread m_thread; // last: starts when all else is there
};

} // namespace telehelm::app
