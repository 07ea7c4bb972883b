// SPDX-License-Identifier: Apache-2.0
// Takes away what deleted runs have left: files first, then rows, a little at a time so that nobody who writes or reads waits for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "store/store.h"

namespace telehelm::daemon {

/// Any thread. Begins at once with what an earlier daemon has not finished.
class Purger {
public:
    Purger(store::Store& store, std::filesystem::path runs);
    ~Purger(); // leaves the rest to the next daemon
    Purger(const Purger&) = delete;
    Purger& operator=(const Purger&) = delete;
    void wake();

private:
    void run();
    void removeFolders();
    void purgeStore();
    void wait(std::chrono::milliseconds most); // or until it is to stop

    // constant after construction
    store::Store& m_store;
    const std::filesystem::path m_runs;

    std::mutex m_mutex;
    std::condition_variable m_wake;
    bool m_hasWork = true;                // guarded by m_mutex
    std::atomic<bool> m_stopping{false};  // written with m_mutex held

    std::thread m_thread; // last
};

} // namespace telehelm::daemon
