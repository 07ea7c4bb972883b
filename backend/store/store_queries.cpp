// SPDX-License-Identifier: Apache-2.0
// What is asked: lists, lineage, curves; each from one snapshot of memory and database.
#include <algorithm>
#include <future>
#include <iterator>

#include "store/lineage.h"
#include "store/records.h"
#include "store/series_query.h"
#include "store/store_impl.h"

namespace telehelm::store {

using ipc::AttemptKey;

// Enters and leaves with `lock` held shared. As a rule there is nothing to do: what is not in memory has no log.
void Store::Impl::loadPoints(Database& db, const std::vector<std::int64_t>& attempts, std::shared_lock<std::shared_mutex>& lock) {
    for (;;) {
        std::vector<std::int64_t> missing;
        for (const std::int64_t id : attempts) {
            if (m_points.isLoaded(id))
                continue;
            Rows rows = db.query("SELECT 1 FROM tail_log WHERE attempt_id=? LIMIT 1", id);
            if (rows.next())
                missing.push_back(id);
        }
        if (missing.empty())
            return;
        lock.unlock();
        {
            const std::unique_lock exclusive(m_points.mutex());
            for (const std::int64_t id : missing)
                if (!m_points.isLoaded(id))
                    m_points.load(db, id);
        }
        lock.lock();
    }
}

// SQLite takes 0.3 s to hold a million names against a glob: two connections take half of them each.
NamesFound Store::Impl::searchNames(Database& db, std::int64_t attempt, const NameRange& range, std::uint32_t limit) {
    const std::optional<std::string> middle = middleName(db, attempt, range);
    if (!middle)
        return findNames(db, attempt, range, limit);
    NameRange left = range, right = range;
    left.end = right.from = *middle;
    right.isBehind = false;
    auto beside = std::async(std::launch::async, [&] {
        const Lease lease(*this);
        return findNames(*lease.db, attempt, right, limit);
    });
    NamesFound found = findNames(db, attempt, left, limit);
    NamesFound behind = beside.get();
    found.matching += behind.matching;
    const std::size_t room = limit == 0 ? behind.rows.size() : std::min(behind.rows.size(), limit - found.rows.size());
    std::move(behind.rows.begin(), behind.rows.begin() + static_cast<std::ptrdiff_t>(room), std::back_inserter(found.rows));
    return found;
}

Result<ipc::SeriesPage> Store::Impl::listSeries(const ipc::SeriesListQuery& query) {
    return read<ipc::SeriesPage>([&](Database& db) -> Result<ipc::SeriesPage> {
        const std::vector<AttemptRow> attempts = selectAttempts(db, query.key.run);
        if (attempts.empty())
            return fail(ErrorCode::NotFound, "no run named “" + query.key.run + "”", "store");
        const auto attempt = query.key.attempt == 0 ? std::prev(attempts.end())
                                                    : std::find_if(attempts.begin(), attempts.end(), [&](const AttemptRow& row) {
                                                          return row.info.key.attempt == query.key.attempt;
                                                      });
        ipc::SeriesPage page;
        if (attempt == attempts.end())
            return page;
        const NamesFound found = searchNames(db, attempt->id, NameRange(query.glob, query.after), query.limit);
        page.matching = found.matching;
        if (found.matching > found.rows.size())
            page.next = found.rows.back().name;
        std::shared_lock lock(m_points.mutex());
        loadPoints(db, {attempt->id}, lock);
        const PointStore::Series& open = m_points.series(attempt->id); // what came since the last fold
        page.series.reserve(found.rows.size());
        for (const SeriesRow& row : found.rows) {
            const auto known = open.find(row.name);
            const SeriesSummary& newest = known == open.end() ? static_cast<const SeriesSummary&>(row) : *known->second;
            page.series.push_back({attempt->info.key, row.name, newest.points, newest.firstStep, newest.lastStep, newest.latest});
        }
        return page;
    });
}

Result<ipc::LineageInfo> Store::Impl::lineage(const std::string& run) {
    return read<ipc::LineageInfo>([&](Database& db) -> Result<ipc::LineageInfo> {
        const Lineage lineage(selectAttempts(db, run));
        if (lineage.nodes().empty())
            return fail(ErrorCode::NotFound, "no run named “" + run + "”", "store");
        std::vector<std::int64_t> ids;
        for (const Lineage::Node& node : lineage.nodes())
            ids.push_back(node.attempt.id);
        SeriesViews views(db);
        std::shared_lock lock(m_points.mutex());
        loadPoints(db, ids, lock);
        const Snapshot snapshot(db);
        // The loss is what every trainer logs at every step; else what its attempt has most of.
        std::map<std::int64_t, std::string> clocks;
        for (const std::int64_t id : ids) {
            std::string& name = clocks[id] = ipc::series::kTrainLoss;
            if (!findSeries(db, id, name)) {
                Rows rows = db.query("SELECT name, max(points) FROM series WHERE attempt_id=?", id);
                name = rows.next() ? rows.text(0) : std::string();
            }
            views.copy(m_points, id, {name});
        }
        lock.unlock();
        return lineage.describe(run, [&](const Lineage::Node& node, std::int64_t step) -> std::optional<Lineage::Place> {
            SeriesReader* clock = views.reader(node.attempt.id, clocks[node.attempt.id]);
            const std::uint64_t end = clock ? clock->endAtMost(ipc::Axis::Step, step) : 0;
            std::optional<Lineage::Place> place;
            if (end > 0)
                clock->readPoints(end - 1, end, [&](std::uint64_t, std::span<const ipc::Point> points) {
                    place = Lineage::Place{points.front().tokens, points.front().wallUs};
                });
            return place;
        });
    });
}

Result<void> Store::Impl::querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink) {
    return read<void>([&](Database& db) -> Result<void> {
        std::vector<AttemptKey> keys = {query.key};
        keys.insert(keys.end(), query.also.begin(), query.also.end());
        std::vector<std::unique_ptr<SeriesQueryRunner>> runners;
        std::vector<std::int64_t> ids;
        for (const AttemptKey& key : keys) {
            std::vector<AttemptRow> attempts = selectAttempts(db, key.run);
            if (attempts.empty())
                return fail(ErrorCode::NotFound, "no run named “" + key.run + "”", "store");
            for (const AttemptRow& attempt : attempts)
                ids.push_back(attempt.id);
            Lineage lineage(std::move(attempts));
            if (key.attempt != 0 && !lineage.find(key.attempt))
                return tl::unexpected(unknownAttempt(key));
            runners.push_back(std::make_unique<SeriesQueryRunner>(db, m_ema, std::move(lineage), query, key));
        }
        std::shared_lock lock(m_points.mutex());
        loadPoints(db, ids, lock);
        const Snapshot snapshot(db);
        for (const std::int64_t id : ids) // of what was deleted since, a part may be gone
            if (!db.query("SELECT 1 FROM attempts WHERE id=?", id).next())
                return fail(ErrorCode::NotFound, "the run has just been deleted", "store");
        for (auto& runner : runners)
            runner->copyStates(m_points);
        lock.unlock();
        const std::vector<std::uint32_t> passes = passesOf(query);
        for (std::uint32_t pass = 0; pass < passes.size(); ++pass)
            for (auto& runner : runners)
                if (!runner->run(passes[pass], pass, pass + 1 == passes.size(), sink))
                    return {};
        return {};
    });
}

} // namespace telehelm::store
