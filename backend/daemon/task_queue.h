// SPDX-License-Identifier: Apache-2.0
// One thread for what takes its time: restarts, the ends of jobs, left spools.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace telehelm::daemon {

/// Any thread. Tasks run one after the other, in order; those not begun are dropped at the end.
class TaskQueue {
public:
    TaskQueue();
    ~TaskQueue();
    TaskQueue(const TaskQueue&) = delete;
    TaskQueue& operator=(const TaskQueue&) = delete;
    void add(std::function<void()> task); // nothing happens after stop()
    void stop();                          // returns when the running task is done
    /// For long tasks: true when they should give up.
    [[nodiscard]] bool isStopping();

private:
    void run();
    std::mutex m_mutex;
    std::condition_variable m_wake;
    std::deque<std::function<void()>> m_tasks; // guarded by m_mutex
    bool m_stopping = false;                   // guarded by m_mutex
    std::thread m_thread;
};

} // namespace telehelm::daemon
