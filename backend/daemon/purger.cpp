// SPDX-License-Identifier: Apache-2.0
#include "daemon/purger.h"

#include <algorithm>
#include <chrono>

#include <spdlog/spdlog.h>

#include "daemon/run_folder.h"

namespace telehelm::daemon {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kShortestPause = 20ms, kAfterTrouble = 10'000ms;
constexpr int kPauseToWork = 3; // the writer is free three quarters of the time

} // namespace

Purger::Purger(store::Store& store, std::filesystem::path runs)
    : m_store(store), m_runs(std::move(runs)), m_thread([this] { run(); }) {}

Purger::~Purger() {
    {
        const std::lock_guard lock(m_mutex);
        m_stopping = true;
    }
    m_wake.notify_all();
    m_thread.join();
}

void Purger::wake() {
    const std::lock_guard lock(m_mutex);
    m_hasWork = true;
    m_wake.notify_all();
}

void Purger::wait(std::chrono::milliseconds most) {
    std::unique_lock lock(m_mutex);
    m_wake.wait_for(lock, most, [&] { return m_stopping.load(); });
}

void Purger::run() {
    for (;;) {
        {
            std::unique_lock lock(m_mutex);
            m_wake.wait(lock, [&] { return m_stopping || m_hasWork; });
            if (m_stopping)
                return;
            m_hasWork = false;
        }
        removeFolders();
        purgeStore();
    }
}

void Purger::removeFolders() {
    const auto records = m_store.deletedRuns();
    if (!records)
        return spdlog::error("{}", records.error().text());
    for (const FolderAside& aside : foldersAside(m_runs)) {
        if (std::ranges::none_of(*records, [&](const ipc::DeletedRun& record) { return record.id == aside.id; }))
            continue; // its deletion is under way
        if (auto removed = removeAside(aside, [this] { return m_stopping.load(); }); !removed)
            spdlog::error("{}", removed.error().text());
    }
}

void Purger::purgeStore() {
    const auto began = Clock::now();
    int pieces = 0;
    for (std::string trouble; !m_stopping;) {
        const auto from = Clock::now();
        const auto hasMore = m_store.purge();
        const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - from);
        if (hasMore && !*hasMore)
            break;
        pieces += hasMore ? 1 : 0;
        if (!hasMore && hasMore.error().message != trouble) { // told once
            trouble = hasMore.error().message;
            spdlog::error("a deleted run's rows cannot be purged: {}. It is tried again", hasMore.error().text());
        }
        wait(hasMore ? std::max<std::chrono::milliseconds>(kShortestPause, kPauseToWork * took) : kAfterTrouble);
    }
    if (pieces > 0 && !m_stopping)
        spdlog::info("deleted runs are purged: {} pieces in {} ms", pieces,
                     std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began).count());
}

} // namespace telehelm::daemon
