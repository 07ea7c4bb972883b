// SPDX-License-Identifier: Apache-2.0
#include "supervise/heartbeat_watch.h"

namespace telehelm::supervise {

void HeartbeatWatch::expect(const ipc::AttemptKey& key, Time now) { m_entries[key] = Entry{now}; }

void HeartbeatWatch::heard(const ipc::AttemptKey& key, Time now) {
    const auto found = m_entries.find(key);
    if (found == m_entries.end())
        return;
    Entry& entry = found->second;
    if (entry.told > 0 && !entry.isBack) {
        entry.isBack = true;
        entry.silent = std::chrono::duration_cast<std::chrono::seconds>(now - entry.last);
    }
    entry.last = now;
}

void HeartbeatWatch::forget(const ipc::AttemptKey& key) { m_entries.erase(key); }

std::vector<HeartbeatWatch::Finding> HeartbeatWatch::check(Time now) {
    std::vector<Finding> findings;
    for (auto& [key, entry] : m_entries) {
        if (entry.isBack) {
            findings.push_back({key, Verdict::Back, entry.silent});
            entry.isBack = false;
            entry.told = 0;
        }
        const auto silent = std::chrono::duration_cast<std::chrono::seconds>(now - entry.last);
        if (silent >= kHung && entry.told < 2) {
            findings.push_back({key, Verdict::Hung, silent});
            entry.told = 2;
        } else if (silent >= kLate && entry.told < 1) {
            findings.push_back({key, Verdict::Late, silent});
            entry.told = 1;
        }
    }
    return findings;
}

} // namespace telehelm::supervise
