// SPDX-License-Identifier: GPL-3.0-or-later
// Tells from (epoch, news number) whether news of a run were missed. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

enum class NewsOrder { Next, FirstSeen, Hole, NewEpoch, Old };

class NewsLedger {
public:
    NewsOrder see(const ipc::News& news) {
        auto [it, fresh] = m_last.try_emplace(news.batch.key.run, Last{news.epoch, news.news});
        if (fresh)
            return news.news == 1 ? NewsOrder::Next : NewsOrder::FirstSeen;
        Last& last = it->second;
        if (last.epoch != news.epoch) {
            last = {news.epoch, news.news};
            return NewsOrder::NewEpoch;
        }
        if (news.news <= last.number)
            return NewsOrder::Old;
        const bool next = news.news == last.number + 1;
        last.number = news.news;
        return next ? NewsOrder::Next : NewsOrder::Hole;
    }
    void clear() { m_last.clear(); }

private:
    struct Last {
        std::string epoch;
        std::uint64_t number = 0;
    };
    std::map<std::string, Last> m_last; // by run
};

} // namespace telehelm::app
