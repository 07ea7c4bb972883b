// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <iterator>
#include <map>
#include <mutex>

#include "store/byte_stream.h"
#include "store/commit_mark.h"
#include "store/deleted_runs.h"
#include "store/point_store.h"
#include "store/schema.h"
#include "store/series_query.h"
#include "store/series_rows.h"

namespace telehelm::store {
namespace {

using ipc::AttemptKey;

constexpr std::size_t kIdleReaders = 4;
constexpr auto kPurgePiece = std::chrono::milliseconds(8); // as long as others wait for the writer

Error unknownAttempt(const AttemptKey& key) {
    return {ErrorCode::NotFound, "no attempt " + std::to_string(key.attempt) + " of run “" + key.run + "” is known here", "store"};
}

std::string lostCommits(std::uint64_t commits, const std::filesystem::path& file) {
    return "the store has lost its last " + std::to_string(commits) + " transactions: " + file.filename().string() +
           "-wal was cut off or removed, or an older copy of the store was put in its place. What trainers still hold comes again; what "
           "they don't is missing from then on";
}

} // namespace

class Store::Impl {
public:
    Impl(const std::filesystem::path& file, Access access)
        : m_file(file), m_readMode(readMode(file, access)), m_isReadOnly(access == Access::ReadOnly),
          m_writer(file, m_isReadOnly ? m_readMode : Database::Mode::ReadWrite), m_mark(file) {}
    ~Impl() {
        if (!m_isReadOnly)
            foldLogs();
    }

    Result<void> prepare();
    [[nodiscard]] const std::vector<std::string>& notices() const { return m_notices; }

    template <typename T>
    Result<T> write(const std::function<T(Database&)>& work) {
        return guarded<T>([&]() -> Result<T> {
            const std::lock_guard lock(m_writeMutex);
            Transaction transaction(m_writer);
            if constexpr (std::is_void_v<T>) {
                work(m_writer);
                commit(transaction);
                return {};
            } else {
                T made = work(m_writer);
                commit(transaction);
                return made;
            }
        });
    }

    template <typename T>
    Result<T> read(const std::function<Result<T>(Database&)>& work) {
        return guarded<T>([&] {
            Lease lease(*this);
            return work(*lease.db);
        });
    }

    Result<std::vector<IngestedBatch>> ingest(std::span<ipc::TelemetryBatch> batches);
    Result<std::uint64_t> acknowledged(const AttemptKey& key, std::uint64_t firstUnacked);
    Result<std::vector<SequenceGap>> gaps(const AttemptKey& key);
    Result<ipc::DeletedRun> deleteRun(const ipc::DeletedRun& record);
    Result<bool> purge();
    Result<ipc::SeriesPage> listSeries(const ipc::SeriesListQuery& query);
    Result<ipc::LineageInfo> lineage(const std::string& run);
    Result<void> querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink);

private:
    // A reading connection, given back when done.
    struct Lease {
        explicit Lease(Impl& owner) : impl(owner), db(owner.takeReader()) {}
        ~Lease() { impl.giveReader(std::move(db)); }
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        Impl& impl;
        std::unique_ptr<Database> db;
    };
    struct Snapshot { // one moment of the database for several reads
        explicit Snapshot(Database& reader) : db(reader) {
            db.execute("BEGIN");
            db.query("SELECT 1 FROM runs LIMIT 1").next(); // the snapshot is taken at the first read
        }
        ~Snapshot() {
            try {
                db.execute("COMMIT");
            } catch (const SqlError&) {
                // Ending a read-only transaction has no effect that could be lost.
            }
        }
        Snapshot(const Snapshot&) = delete;
        Snapshot& operator=(const Snapshot&) = delete;
        Database& db;
    };

    template <typename T, typename Work>
    Result<T> guarded(const Work& work) {
        try {
            return work();
        } catch (const SqlError& error) {
            return tl::unexpected(toError(error, m_file.string()));
        } catch (const DamagedBlob& damage) {
            return fail(ErrorCode::DataLoss, std::string("damaged: ") + damage.what(), m_file.string());
        }
    }

    std::unique_ptr<Database> takeReader() {
        {
            const std::lock_guard lock(m_readerMutex);
            if (!m_readers.empty()) {
                auto db = std::move(m_readers.back());
                m_readers.pop_back();
                return db;
            }
        }
        auto db = std::make_unique<Database>(m_file, m_readMode);
        db->execute("PRAGMA cache_size=-4000"); // the system caches the file's pages, too
        return db;
    }
    void giveReader(std::unique_ptr<Database> db) {
        const std::lock_guard lock(m_readerMutex);
        if (m_readers.size() < kIdleReaders)
            m_readers.push_back(std::move(db));
    }

    IngestLedger* ledger(const AttemptKey& key); // write mutex held; null: unknown attempt
    IngestedBatch ingestOne(ipc::TelemetryBatch& batch);
    void storeSequence(const IngestLedger& state, const ipc::TelemetryBatch& batch, std::uint64_t points);
    void writeGaps(const IngestLedger& state);
    Result<ipc::DeletedRun> mark(ipc::DeletedRun record);
    void commit(Transaction& transaction); // write mutex held
    void foldLogs();
    NamesFound searchNames(Database& db, std::int64_t attempt, const NameRange& range, std::uint32_t limit);
    void loadPoints(Database& db, const std::vector<std::int64_t>& attempts, std::shared_lock<std::shared_mutex>& lock);

    // Without a log nothing is on its way into the file, and SQLite need not make the files that a log takes.
    static Database::Mode readMode(const std::filesystem::path& file, Access access) {
        std::error_code error;
        const auto logBytes = std::filesystem::file_size(file.string() + "-wal", error);
        return access == Access::ReadOnly && (error || logBytes == 0) ? Database::Mode::Immutable : Database::Mode::ReadOnly;
    }

    // constant after construction
    const std::filesystem::path m_file;
    const Database::Mode m_readMode;
    const bool m_isReadOnly;
    std::mutex m_writeMutex;
    Database m_writer;                             // guarded by m_writeMutex
    CommitMark m_mark;                             // guarded by m_writeMutex
    std::uint64_t m_commits = 0;                   // guarded by m_writeMutex
    std::vector<std::string> m_notices;            // constant after prepare()
    std::map<AttemptKey, IngestLedger> m_ingest;    // guarded by m_writeMutex
    PointStore m_points;                           // has its own lock, taken after m_writeMutex
    EmaCache m_ema;                                // any thread
    std::mutex m_readerMutex;
    std::vector<std::unique_ptr<Database>> m_readers; // guarded by m_readerMutex
};

Result<void> Store::Impl::prepare() {
    if (auto prepared = m_isReadOnly ? requireSchema(m_writer, m_file.string()) : prepareSchema(m_writer, m_file.string()); !prepared)
        return prepared;
    {
        Rows rows = m_writer.query("SELECT commits FROM store_state");
        if (!rows.next())
            return fail(ErrorCode::DataLoss, "the store has lost the row of its table store_state; `telehelmd check --repair` mends it",
                        m_file.string());
        m_commits = static_cast<std::uint64_t>(rows.integer(0));
    }
    if (const auto marked = CommitMark::read(m_file); marked && *marked > m_commits) {
        m_notices.push_back(lostCommits(*marked - m_commits, m_file));
        if (m_isReadOnly)
            return {};
        m_writer.run("INSERT INTO damaged(kind, attempt_id, series, level, idx, points, noted_us, text) VALUES('commits',0,0,0,0,0,?,?)", ipc::nowUs(),
                     m_notices.back());
    }
    if (m_isReadOnly)
        return {};
    m_mark.write(m_commits);
    foldLogs();
    return {};
}

void Store::Impl::commit(Transaction& transaction) {
    m_writer.run("UPDATE store_state SET commits=commits+1");
    transaction.commit();
    m_mark.write(++m_commits);
}

// At the beginning and at the end: so the log of an attempt that is not in memory is empty. It may fail (a full disk):
// then log and memory go on as they are.
void Store::Impl::foldLogs() {
    const std::lock_guard lock(m_writeMutex);
    const std::lock_guard pointsLock(m_points.mutex());
    std::vector<std::int64_t> attempts;
    (void)guarded<void>([&]() -> Result<void> {
        for (Rows rows = m_writer.query("SELECT DISTINCT attempt_id FROM tail_log WHERE attempt_id NOT IN (SELECT id FROM deleted_attempts)"); rows.next();)
            attempts.push_back(rows.integer(0));
        return {};
    });
    for (const std::int64_t attempt : attempts) {
        const auto folded = guarded<void>([&]() -> Result<void> {
            if (!m_points.isLoaded(attempt))
                m_points.load(m_writer, attempt);
            Transaction transaction(m_writer);
            m_points.fold(m_writer, attempt);
            commit(transaction);
            return {};
        });
        m_points.forget(attempt);
        if (!folded)
            return;
    }
}

IngestLedger* Store::Impl::ledger(const AttemptKey& key) {
    if (const auto found = m_ingest.find(key); found != m_ingest.end())
        return &found->second;
    const auto row = selectAttempt(m_writer, key);
    if (!row)
        return nullptr;
    IngestLedger state{row->id, row->info.lastSequence, {}, 0};
    for (Rows rows = m_writer.query("SELECT from_sequence, to_sequence FROM gaps WHERE attempt_id=? ORDER BY from_sequence", row->id);
         rows.next();)
        state.gaps.push_back({static_cast<std::uint64_t>(rows.integer(0)), static_cast<std::uint64_t>(rows.integer(1))});
    return &m_ingest.emplace(key, std::move(state)).first->second;
}

Result<std::vector<IngestedBatch>> Store::Impl::ingest(std::span<ipc::TelemetryBatch> batches) {
    const std::lock_guard lock(m_writeMutex);
    const std::lock_guard pointsLock(m_points.mutex());
    auto result = guarded<std::vector<IngestedBatch>>([&]() -> Result<std::vector<IngestedBatch>> {
        std::vector<IngestedBatch> done;
        Transaction transaction(m_writer);
        for (ipc::TelemetryBatch& batch : batches)
            done.push_back(ingestOne(batch));
        m_points.tidy(m_writer);
        commit(transaction);
        return done;
    });
    if (!result)
        for (const ipc::TelemetryBatch& batch : batches)
            if (const auto found = m_ingest.find(batch.key); found != m_ingest.end()) {
                m_points.forget(found->second.id);
                m_ingest.erase(found);
            }
    return result;
}

IngestedBatch Store::Impl::ingestOne(ipc::TelemetryBatch& batch) {
    IngestedBatch done;
    IngestLedger* state = ledger(batch.key);
    if (!state || batch.sequence == 0) {
        done.refused = state ? Error{ErrorCode::InvalidArgument, "a batch needs a sequence number from 1 on", "store"}
                             : unknownAttempt(batch.key);
        return done;
    }
    const std::vector<SequenceGap> gapsBefore = state->gaps;
    if (state->take(batch.sequence)) {
        done.stored = true;
        done.points = pointCount(batch);
        m_points.append(m_writer, state->id, batch.series);
        for (ipc::Event& event : batch.events) {
            event.key = batch.key;
            insertEvent(m_writer, event);
        }
        for (const ipc::CommandOutcome& outcome : batch.outcomes) {
            auto command = selectCommand(m_writer, outcome.id);
            if (!command || !settle(*command, outcome, ipc::nowUs()))
                continue;
            store::putCommand(m_writer, *command);
            done.settled.push_back(std::move(*command));
        }
        storeSequence(*state, batch, done.points);
        if (gapsBefore != state->gaps)
            writeGaps(*state);
    }
    done.ack = state->ack();
    return done;
}

void Store::Impl::storeSequence(const IngestLedger& state, const ipc::TelemetryBatch& batch, std::uint64_t points) {
    std::int64_t step = 0, tokens = 0;
    for (const ipc::SeriesBlock& block : batch.series)
        for (const ipc::Point& point : block.points) {
            step = std::max(step, point.step);
            tokens = std::max(tokens, point.tokens);
        }
    m_writer.run("UPDATE attempts SET last_sequence=?, points_stored=points_stored+?, step=max(step, ?), tokens=max(tokens, ?), "
                 "last_heard_us=max(last_heard_us, ?) WHERE id=?",
                 state.last, points, step, tokens, ipc::nowUs(), state.id);
}

void Store::Impl::writeGaps(const IngestLedger& state) {
    m_writer.run("DELETE FROM gaps WHERE attempt_id=?", state.id);
    for (const SequenceGap& gap : state.gaps)
        m_writer.run("INSERT INTO gaps(attempt_id, from_sequence, to_sequence) VALUES(?,?,?)", state.id, gap.from, gap.to);
}

Result<std::uint64_t> Store::Impl::acknowledged(const AttemptKey& key, std::uint64_t firstUnacked) {
    const std::lock_guard lock(m_writeMutex);
    return guarded<std::uint64_t>([&]() -> Result<std::uint64_t> {
        IngestLedger* state = ledger(key);
        if (!state)
            return tl::unexpected(unknownAttempt(key));
        state->firstHeld = std::max(state->firstHeld, firstUnacked);
        return state->ack();
    });
}

Result<std::vector<SequenceGap>> Store::Impl::gaps(const AttemptKey& key) {
    const std::lock_guard lock(m_writeMutex);
    return guarded<std::vector<SequenceGap>>([&]() -> Result<std::vector<SequenceGap>> {
        const IngestLedger* state = ledger(key);
        if (!state)
            return tl::unexpected(unknownAttempt(key));
        return state->gaps;
    });
}

Result<ipc::DeletedRun> Store::Impl::deleteRun(const ipc::DeletedRun& record) {
    const std::lock_guard lock(m_writeMutex);
    const std::lock_guard pointsLock(m_points.mutex());
    auto deleted = mark(record);
    if (deleted || deleted.error().code != ErrorCode::ResourceExhausted)
        return deleted;
    // On a full disk, the very moment to delete something, the write-ahead log may have room for it once it is emptied.
    const auto emptied = guarded<void>([&]() -> Result<void> {
        m_writer.execute("PRAGMA wal_checkpoint(TRUNCATE)");
        return {};
    });
    return emptied ? mark(record) : deleted;
}

// Both locks held.
Result<ipc::DeletedRun> Store::Impl::mark(ipc::DeletedRun record) {
    return guarded<ipc::DeletedRun>([&]() -> Result<ipc::DeletedRun> {
        Transaction transaction(m_writer);
        const std::vector<std::int64_t> attempts = markDeleted(m_writer, record);
        if (attempts.empty())
            return fail(ErrorCode::NotFound, "no run named “" + record.run + "”", "store");
        commit(transaction);
        for (const std::int64_t id : attempts)
            m_points.forget(id);
        std::erase_if(m_ingest, [&](const auto& known) { return known.first.run == record.run; });
        return record;
    });
}

Result<bool> Store::Impl::purge() {
    const std::lock_guard lock(m_writeMutex);
    return guarded<bool>([&]() -> Result<bool> {
        const auto end = std::chrono::steady_clock::now() + kPurgePiece;
        std::vector<std::int64_t> gone;
        Transaction transaction(m_writer);
        const std::optional<std::int64_t> attempt = attemptToPurge(m_writer);
        bool hasMore = purgeSome(m_writer, gone);
        if (!hasMore)
            return false;
        while (hasMore && attemptToPurge(m_writer) == attempt && std::chrono::steady_clock::now() < end)
            hasMore = purgeSome(m_writer, gone);
        commit(transaction);
        for (const std::int64_t series : gone)
            m_ema.forget(series);
        if (attempt) { // a reader that began before the deletion may have loaded it again
            const std::lock_guard pointsLock(m_points.mutex());
            m_points.forget(*attempt);
        }
        return hasMore;
    });
}

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

Store::Store(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const std::filesystem::path& file, Access access) {
    try {
        auto impl = std::make_unique<Impl>(file, access);
        if (auto prepared = impl->prepare(); !prepared)
            return tl::unexpected(prepared.error());
        return std::unique_ptr<Store>(new Store(std::move(impl)));
    } catch (const SqlError& error) {
        return tl::unexpected(toError(error, file.string()));
    }
}

const std::vector<std::string>& Store::notices() const { return m_impl->notices(); }

Result<void> Store::addRun(const RunRecord& run) {
    return m_impl->write<void>([&](Database& db) { insertRun(db, run); });
}

Result<std::vector<RunRecord>> Store::runs() {
    return m_impl->read<std::vector<RunRecord>>([](Database& db) { return selectRuns(db); });
}

Result<void> Store::addAttempt(const ipc::AttemptInfo& attempt) {
    return m_impl->write<void>([&](Database& db) { insertAttempt(db, attempt); });
}

Result<std::vector<ipc::AttemptInfo>> Store::attempts(const std::string& run) {
    return m_impl->read<std::vector<ipc::AttemptInfo>>([&](Database& db) {
        std::vector<ipc::AttemptInfo> all;
        for (AttemptRow& row : selectAttempts(db, run))
            all.push_back(std::move(row.info));
        return all;
    });
}

Result<std::optional<ipc::AttemptInfo>> Store::attempt(const AttemptKey& key) {
    return m_impl->read<std::optional<ipc::AttemptInfo>>([&](Database& db) {
        auto row = selectAttempt(db, key);
        return row ? std::optional(std::move(row->info)) : std::nullopt;
    });
}

Result<void> Store::updateAttempt(const ipc::AttemptInfo& attempt) {
    return m_impl->write<void>([&](Database& db) { store::updateAttempt(db, attempt); });
}

Result<ipc::Event> Store::addEvent(ipc::Event event) {
    return m_impl->write<ipc::Event>([&](Database& db) {
        insertEvent(db, event);
        return event;
    });
}

Result<std::vector<ipc::Event>> Store::events(const ipc::EventQuery& query) {
    return m_impl->read<std::vector<ipc::Event>>([&](Database& db) { return selectEvents(db, query); });
}

Result<void> Store::putCommand(const ipc::Command& command) {
    return m_impl->write<void>([&](Database& db) { store::putCommand(db, command); });
}

Result<std::optional<ipc::Command>> Store::command(const std::string& id) {
    return m_impl->read<std::optional<ipc::Command>>([&](Database& db) { return selectCommand(db, id); });
}

Result<std::vector<ipc::Command>> Store::commands(const ipc::CommandQuery& query) {
    return m_impl->read<std::vector<ipc::Command>>([&](Database& db) { return selectCommands(db, query); });
}

Result<std::vector<ipc::Command>> Store::pendingCommands(const std::string& run) {
    return m_impl->read<std::vector<ipc::Command>>([&](Database& db) { return selectPendingCommands(db, run); });
}

Result<std::optional<ipc::Command>> Store::settleCommand(const ipc::CommandOutcome& outcome) {
    return m_impl->write<std::optional<ipc::Command>>([&](Database& db) -> std::optional<ipc::Command> {
        auto command = selectCommand(db, outcome.id);
        if (!command || !settle(*command, outcome, ipc::nowUs()))
            return std::nullopt;
        store::putCommand(db, *command);
        return command;
    });
}

Result<std::vector<IngestedBatch>> Store::ingest(std::span<ipc::TelemetryBatch> batches) { return m_impl->ingest(batches); }

Result<std::uint64_t> Store::acknowledged(const AttemptKey& key, std::uint64_t firstUnacked) {
    return m_impl->acknowledged(key, firstUnacked);
}

Result<std::vector<SequenceGap>> Store::gaps(const AttemptKey& key) { return m_impl->gaps(key); }

Result<std::uint64_t> Store::pointsStored() {
    return m_impl->read<std::uint64_t>([](Database& db) -> Result<std::uint64_t> {
        Rows rows = db.query("SELECT coalesce(sum(points_stored), 0) FROM attempts");
        rows.next();
        return static_cast<std::uint64_t>(rows.integer(0));
    });
}

Result<ipc::DeletedRun> Store::deleteRun(const ipc::DeletedRun& record) { return m_impl->deleteRun(record); }

Result<bool> Store::purge() { return m_impl->purge(); }

Result<std::vector<ipc::DeletedRun>> Store::deletedRuns() {
    return m_impl->read<std::vector<ipc::DeletedRun>>([](Database& db) { return selectDeletedRuns(db); });
}

Result<ipc::SeriesPage> Store::listSeries(const ipc::SeriesListQuery& query) { return m_impl->listSeries(query); }

Result<ipc::LineageInfo> Store::lineage(const std::string& run) { return m_impl->lineage(run); }

Result<void> Store::querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink) {
    return m_impl->querySeries(query, sink);
}

} // namespace telehelm::store
