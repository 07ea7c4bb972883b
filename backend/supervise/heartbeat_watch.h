// SPDX-License-Identifier: Apache-2.0
// Who has not been heard of for too long. Time comes from the caller, so that tests need not wait.
#pragma once

#include <chrono>
#include <map>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::supervise {

/// One thread at a time.
class HeartbeatWatch {
public:
    using Time = std::chrono::steady_clock::time_point;
    static constexpr std::chrono::seconds kLate{10}, kHung{60};
    enum class Verdict { Late, Hung, Back };
    struct Finding {
        ipc::AttemptKey key;
        Verdict verdict;
        std::chrono::seconds silent{0};
    };

    void expect(const ipc::AttemptKey& key, Time now); // from now on it should be heard
    void heard(const ipc::AttemptKey& key, Time now);  // nothing happens for one that is not expected
    void forget(const ipc::AttemptKey& key);
    /// Each change once: late, then hung, then back.
    [[nodiscard]] std::vector<Finding> check(Time now);

private:
    struct Entry {
        Time last;
        int told = 0; // 0 nothing, 1 late, 2 hung
        bool isBack = false;
        std::chrono::seconds silent{0};
    };
    std::map<ipc::AttemptKey, Entry> m_entries;
};

} // namespace telehelm::supervise
