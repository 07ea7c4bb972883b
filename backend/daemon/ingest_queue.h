// SPDX-License-Identifier: Apache-2.0
// Group commit: what arrives while one transaction is written goes into the next one.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "store/store.h"

namespace telehelm::daemon {

/// Any thread. Batches are committed in the order in which they came.
class IngestQueue {
public:
    /// Called on the queue's thread after each commit; the vectors belong together index by index.
    using OnCommit = std::function<void(std::vector<ipc::TelemetryBatch>&&, std::vector<store::IngestedBatch>&&)>;
    /// Called when the store begins to refuse (with the reason) and when it takes batches again (without).
    using OnTrouble = std::function<void(const std::optional<Error>&)>;
    IngestQueue(store::Store& store, OnCommit onCommit, OnTrouble onTrouble);
    ~IngestQueue(); // commits what is queued if the store takes it
    IngestQueue(const IngestQueue&) = delete;
    IngestQueue& operator=(const IngestQueue&) = delete;

    /// Refuses while the store refuses, or when too much waits: the sender keeps the batch and sends it again.
    Result<void> push(ipc::TelemetryBatch&& batch);
    /// Returns when everything pushed before is committed, or the store refuses.
    void flush();
    /// Why the store refuses now.
    [[nodiscard]] std::optional<Error> trouble();

private:
    void run();
    bool commit(std::vector<ipc::TelemetryBatch>& batches);

    // constant after construction
    store::Store& m_store;
    const OnCommit m_onCommit;
    const OnTrouble m_onTrouble;

    // guarded by m_mutex
    std::mutex m_mutex;
    std::condition_variable m_wake, m_done;
    std::vector<ipc::TelemetryBatch> m_queue;
    std::size_t m_queuedPoints = 0;
    std::optional<Error> m_trouble;
    bool m_isBusy = false, m_stopping = false;

    std::thread m_thread; // last
};

} // namespace telehelm::daemon
