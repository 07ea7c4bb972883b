// SPDX-License-Identifier: Apache-2.0
#include "daemon/ingest_queue.h"

#include <chrono>

namespace telehelm::daemon {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxQueuedPoints = 4'000'000;
constexpr auto kRetryAfter = 1s;

} // namespace

IngestQueue::IngestQueue(store::Store& store, OnCommit onCommit, OnTrouble onTrouble)
    : m_store(store), m_onCommit(std::move(onCommit)), m_onTrouble(std::move(onTrouble)), m_thread([this] { run(); }) {}

IngestQueue::~IngestQueue() {
    {
        const std::lock_guard lock(m_mutex);
        m_stopping = true;
    }
    m_wake.notify_all();
    m_thread.join();
}

Result<void> IngestQueue::push(ipc::TelemetryBatch&& batch) {
    const std::lock_guard lock(m_mutex);
    if (m_trouble)
        return tl::unexpected(*m_trouble);
    if (m_queuedPoints > kMaxQueuedPoints)
        return fail(ErrorCode::ResourceExhausted, "the store cannot keep up; send again later", "telehelmd");
    m_queuedPoints += pointCount(batch);
    m_queue.push_back(std::move(batch));
    m_wake.notify_one();
    return {};
}

void IngestQueue::flush() {
    std::unique_lock lock(m_mutex);
    m_done.wait(lock, [&] { return m_trouble || (m_queue.empty() && !m_isBusy); });
}

std::optional<Error> IngestQueue::trouble() {
    const std::lock_guard lock(m_mutex);
    return m_trouble;
}

bool IngestQueue::commit(std::vector<ipc::TelemetryBatch>& batches) {
    auto done = m_store.ingest(batches);
    const bool wasTroubled = m_trouble.has_value(); // only this thread writes it
    if (!done) {
        {
            const std::lock_guard lock(m_mutex);
            m_trouble = done.error();
        }
        m_done.notify_all();
        if (!wasTroubled)
            m_onTrouble(done.error());
        return false;
    }
    if (wasTroubled) {
        {
            const std::lock_guard lock(m_mutex);
            m_trouble.reset();
        }
        m_onTrouble(std::nullopt);
    }
    m_onCommit(std::move(batches), std::move(*done));
    return true;
}

void IngestQueue::run() {
    std::vector<ipc::TelemetryBatch> batches;
    std::unique_lock lock(m_mutex);
    for (;;) {
        m_wake.wait(lock, [&] { return m_stopping || !m_queue.empty(); });
        if (m_queue.empty())
            return;
        batches = std::move(m_queue);
        m_queue.clear();
        m_queuedPoints = 0;
        m_isBusy = true;
        lock.unlock();
        // What could not be stored waits here, in order, and is tried again; its sender has no ack and keeps it too.
        while (!commit(batches)) {
            std::unique_lock waiting(m_mutex);
            m_wake.wait_for(waiting, kRetryAfter, [&] { return m_stopping; });
            if (m_stopping)
                return;
        }
        lock.lock();
        m_isBusy = false;
        m_done.notify_all();
    }
}

} // namespace telehelm::daemon
