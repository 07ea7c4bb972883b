// SPDX-License-Identifier: Apache-2.0
// Tells from the numbers whether news of a run were missed, and how many points they held. One ledger per subscription; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "telehelm/ipc/types.h"

namespace telehelm::ipc {

enum class NewsOrder {
    Next,
    FirstSeen, // not the run's first: what came before is in the truth
    Hole,
    NewEpoch,  // the daemon was started again: what it published before we heard it is in the truth
    Old,       // seen before, or a beat that tells nothing new
};

class NewsLedger {
public:
    struct Verdict {
        NewsOrder order = NewsOrder::Next;
        std::optional<std::uint64_t> missedPoints; // of a hole, where the numbers tell
    };

    Verdict see(const News& news) {
        const std::uint64_t pointsAfter = news.pointsBefore + pointCount(news.batch);
        auto [it, fresh] = m_last.try_emplace(news.batch.key.run, Last{news.epoch, news.news, pointsAfter});
        if (fresh)
            return {news.news == 1 && !news.beat ? NewsOrder::Next : NewsOrder::FirstSeen, {}};
        Last& last = it->second;
        const Last before = last;
        if (before.epoch != news.epoch) {
            last = {news.epoch, news.news, pointsAfter};
            return {NewsOrder::NewEpoch, {}};
        }
        if (news.news <= before.number)
            return {NewsOrder::Old, {}};
        last = {news.epoch, news.news, pointsAfter};
        if (!news.beat && news.news == before.number + 1)
            return {NewsOrder::Next, {}};
        // Points were counted anew when nobody held the subscription for a while.
        if (news.countedAfter > before.number || news.pointsBefore < before.points)
            return {NewsOrder::Hole, {}};
        return {NewsOrder::Hole, news.pointsBefore - before.points};
    }
    void clear() { m_last.clear(); }

private:
    struct Last {
        std::string epoch;
        std::uint64_t number = 0, points = 0;
    };
    std::map<std::string, Last> m_last; // by run
};

} // namespace telehelm::ipc
