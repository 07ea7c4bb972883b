// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/control_worker.h"

#include "telehelm/ipc/types.h"

namespace telehelm::app {
namespace {
constexpr auto kPingEvery = std::chrono::seconds(2);
constexpr const char* kProgram = "telehelm";
} // namespace

ControlWorker::ControlWorker(std::shared_ptr<ipc::ControlApi> api, Callbacks callbacks)
    : m_api(std::move(api)), m_callbacks(std::move(callbacks)) {
    m_status.state = LinkState::Connecting;
    m_status.sinceUs = ipc::nowUs();
    m_thread = std::thread([this] { loop(); });
}

ControlWorker::~ControlWorker() {
    requestStop();
    m_thread.join();
}

void ControlWorker::requestStop() {
    const std::lock_guard lock(m_mutex);
    m_stop = true;
    m_jobs.clear();
    m_wake.notify_all();
}

void ControlWorker::enqueue(Job job) {
    const std::lock_guard lock(m_mutex);
    m_jobs.push_back(std::move(job));
    m_wake.notify_all();
}

void ControlWorker::checkNow() {
    const std::lock_guard lock(m_mutex);
    m_nextCheck = Clock::now();
    m_wake.notify_all();
}

void ControlWorker::loop() {
    m_callbacks.linkChanged(m_status);
    std::unique_lock lock(m_mutex);
    while (!m_stop) {
        // Jobs wait for the outcome of the very first attempt and not longer.
        if (Clock::now() >= m_nextCheck) {
            lock.unlock();
            checkLink();
            lock.lock();
        } else if (!m_jobs.empty() && m_status.state != LinkState::Connecting) {
            const Job job = std::move(m_jobs.front());
            m_jobs.pop_front();
            lock.unlock();
            runJob(job);
            lock.lock();
        } else {
            m_wake.wait_until(lock, m_nextCheck);
        }
    }
}

void ControlWorker::checkLink() {
    const auto begin = Clock::now();
    const auto hello = m_api->hello(ipc::kProtocolVersion, kProgram);
    if (!hello) {
        noteDown(hello.error());
        return;
    }
    const bool wasUp = m_status.state == LinkState::Up;
    m_status.latencyMs = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    m_status.state = LinkState::Up;
    m_status.attempt = 0;
    m_status.nextAttemptUs = 0;
    m_status.text.clear();
    if (!wasUp)
        m_status.sinceUs = ipc::nowUs();
    m_backOff.reset();
    {
        const std::lock_guard lock(m_mutex);
        m_nextCheck = Clock::now() + kPingEvery;
    }
    if (!wasUp || m_epoch != hello->epoch) {
        m_epoch = hello->epoch;
        m_callbacks.greeted(*hello);
    }
    m_callbacks.linkChanged(m_status);
}

void ControlWorker::runJob(const Job& job) {
    if (m_status.state != LinkState::Up) {
        job(nullptr, m_why);
        return;
    }
    if (!job(m_api.get(), {}))
        checkNow(); // is it the call or the daemon? hello tells
}

void ControlWorker::noteDown(const Error& why) {
    m_why = why;
    if (m_status.state != LinkState::Down) {
        m_status.state = LinkState::Down;
        m_status.sinceUs = ipc::nowUs();
        m_status.attempt = 0;
    }
    ++m_status.attempt;
    m_status.latencyMs = -1;
    m_status.text = QString::fromStdString(why.text());
    const auto wait = m_backOff.next();
    m_status.nextAttemptUs = ipc::nowUs() + std::chrono::microseconds(wait).count();
    {
        const std::lock_guard lock(m_mutex);
        m_nextCheck = Clock::now() + wait;
    }
    m_callbacks.linkChanged(m_status);
}

} // namespace telehelm::app
