// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "store/byte_stream.h"
#include "store/point_store.h"
#include "store/schema.h"
#include "store/series_query.h"

namespace telehelm::store {
namespace {

using ipc::AttemptKey;

constexpr std::size_t kIdleReaders = 4;

// What the store remembers of an attempt while batches come in.
struct IngestState {
    std::int64_t id = 0;
    std::uint64_t last = 0;          // highest sequence number stored
    std::vector<SequenceGap> gaps;   // missing below it, ascending
    std::uint64_t firstHeld = 0;     // the trainer has nothing before this any more: gaps there hold nothing up
};

std::uint64_t ackOf(const IngestState& state) {
    for (const SequenceGap& gap : state.gaps)
        if (gap.to >= state.firstHeld)
            return std::max({gap.from, state.firstHeld, std::uint64_t{1}}) - 1;
    return state.last;
}

// Notes that `sequence` is stored; false when it was before.
bool takeSequence(IngestState& state, std::uint64_t sequence) {
    if (sequence > state.last) {
        if (sequence > state.last + 1)
            state.gaps.push_back({state.last + 1, sequence - 1});
        state.last = sequence;
        return true;
    }
    for (auto gap = state.gaps.begin(); gap != state.gaps.end(); ++gap) {
        if (sequence < gap->from || sequence > gap->to)
            continue;
        const SequenceGap below{gap->from, sequence - 1}, above{sequence + 1, gap->to};
        gap = state.gaps.erase(gap);
        if (above.from <= above.to)
            gap = state.gaps.insert(gap, above);
        if (below.from <= below.to)
            state.gaps.insert(gap, below);
        return true;
    }
    return false;
}

Error unknownAttempt(const AttemptKey& key) {
    return {ErrorCode::NotFound, "no attempt " + std::to_string(key.attempt) + " of run “" + key.run + "” is known here", "store"};
}

} // namespace

class Store::Impl {
public:
    explicit Impl(const std::filesystem::path& file) : m_file(file), m_writer(file, Database::Mode::ReadWrite) {}

    Result<void> prepare() { return prepareSchema(m_writer, m_file.string()); }

    template <typename T>
    Result<T> write(const std::function<T(Database&)>& work) {
        return guarded<T>([&]() -> Result<T> {
            const std::lock_guard lock(m_writeMutex);
            Transaction transaction(m_writer);
            if constexpr (std::is_void_v<T>) {
                work(m_writer);
                transaction.commit();
                return {};
            } else {
                T made = work(m_writer);
                transaction.commit();
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
    Result<std::vector<ipc::SeriesInfo>> listSeries(const AttemptKey& key, const std::string& glob);
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
        auto db = std::make_unique<Database>(m_file, Database::Mode::ReadOnly);
        db->execute("PRAGMA cache_size=-8000; PRAGMA mmap_size=1073741824");
        return db;
    }
    void giveReader(std::unique_ptr<Database> db) {
        const std::lock_guard lock(m_readerMutex);
        if (m_readers.size() < kIdleReaders)
            m_readers.push_back(std::move(db));
    }

    IngestState* ingestState(const AttemptKey& key); // write mutex held; null: unknown attempt
    IngestedBatch ingestOne(ipc::TelemetryBatch& batch);
    void storeSequence(const IngestState& state, const ipc::TelemetryBatch& batch, std::uint64_t points);
    void writeGaps(const IngestState& state);
    void loadPoints(Database& db, const std::vector<std::int64_t>& attempts, std::shared_lock<std::shared_mutex>& lock);

    const std::filesystem::path m_file; // constant after construction
    std::mutex m_writeMutex;
    Database m_writer;                             // guarded by m_writeMutex
    std::map<AttemptKey, IngestState> m_ingest;    // guarded by m_writeMutex
    PointStore m_points;                           // has its own lock, taken after m_writeMutex
    EmaCache m_ema;                                // any thread
    std::mutex m_readerMutex;
    std::vector<std::unique_ptr<Database>> m_readers; // guarded by m_readerMutex
};

IngestState* Store::Impl::ingestState(const AttemptKey& key) {
    if (const auto found = m_ingest.find(key); found != m_ingest.end())
        return &found->second;
    const auto row = selectAttempt(m_writer, key);
    if (!row)
        return nullptr;
    IngestState state{row->id, row->info.lastSequence, {}, 0};
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
        transaction.commit();
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
    IngestState* state = ingestState(batch.key);
    if (!state || batch.sequence == 0) {
        done.refused = state ? Error{ErrorCode::InvalidArgument, "a batch needs a sequence number from 1 on", "store"}
                             : unknownAttempt(batch.key);
        return done;
    }
    const std::vector<SequenceGap> gapsBefore = state->gaps;
    if (takeSequence(*state, batch.sequence)) {
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
    done.ack = ackOf(*state);
    return done;
}

void Store::Impl::storeSequence(const IngestState& state, const ipc::TelemetryBatch& batch, std::uint64_t points) {
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

void Store::Impl::writeGaps(const IngestState& state) {
    m_writer.run("DELETE FROM gaps WHERE attempt_id=?", state.id);
    for (const SequenceGap& gap : state.gaps)
        m_writer.run("INSERT INTO gaps(attempt_id, from_sequence, to_sequence) VALUES(?,?,?)", state.id, gap.from, gap.to);
}

Result<std::uint64_t> Store::Impl::acknowledged(const AttemptKey& key, std::uint64_t firstUnacked) {
    const std::lock_guard lock(m_writeMutex);
    return guarded<std::uint64_t>([&]() -> Result<std::uint64_t> {
        IngestState* state = ingestState(key);
        if (!state)
            return tl::unexpected(unknownAttempt(key));
        state->firstHeld = std::max(state->firstHeld, firstUnacked);
        return ackOf(*state);
    });
}

Result<std::vector<SequenceGap>> Store::Impl::gaps(const AttemptKey& key) {
    const std::lock_guard lock(m_writeMutex);
    return guarded<std::vector<SequenceGap>>([&]() -> Result<std::vector<SequenceGap>> {
        const IngestState* state = ingestState(key);
        if (!state)
            return tl::unexpected(unknownAttempt(key));
        return state->gaps;
    });
}

// Enters and leaves with `lock` held shared.
void Store::Impl::loadPoints(Database& db, const std::vector<std::int64_t>& attempts, std::shared_lock<std::shared_mutex>& lock) {
    for (;;) {
        std::vector<std::int64_t> missing;
        std::copy_if(attempts.begin(), attempts.end(), std::back_inserter(missing),
                     [&](std::int64_t id) { return !m_points.isLoaded(id); });
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

Result<std::vector<ipc::SeriesInfo>> Store::Impl::listSeries(const AttemptKey& key, const std::string& glob) {
    return read<std::vector<ipc::SeriesInfo>>([&](Database& db) -> Result<std::vector<ipc::SeriesInfo>> {
        const std::vector<AttemptRow> attempts = selectAttempts(db, key.run);
        std::vector<ipc::SeriesInfo> found;
        std::shared_lock lock(m_points.mutex());
        for (const AttemptRow& attempt : attempts) {
            if (key.attempt != 0 ? attempt.info.key.attempt != key.attempt : attempt.id != attempts.back().id)
                continue;
            loadPoints(db, {attempt.id}, lock);
            for (const auto& [name, state] : m_points.series(attempt.id))
                if (glob.empty() || matches(glob, name))
                    found.push_back({attempt.info.key, name, state->points, state->firstStep, state->lastStep, state->latest});
        }
        if (attempts.empty())
            return fail(ErrorCode::NotFound, "no run named “" + key.run + "”", "store");
        return found;
    });
}

Result<void> Store::Impl::querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink) {
    return read<void>([&](Database& db) -> Result<void> {
        std::vector<AttemptRow> attempts = selectAttempts(db, query.key.run);
        if (attempts.empty())
            return fail(ErrorCode::NotFound, "no run named “" + query.key.run + "”", "store");
        std::vector<std::int64_t> ids;
        for (const AttemptRow& attempt : attempts)
            ids.push_back(attempt.id);
        const Lineage lineage(std::move(attempts));
        if (query.key.attempt != 0 && !lineage.find(query.key.attempt))
            return tl::unexpected(unknownAttempt(query.key));
        SeriesQueryRunner runner(db, m_ema, lineage, query);
        std::shared_lock lock(m_points.mutex());
        loadPoints(db, ids, lock);
        const Snapshot snapshot(db);
        runner.copyStates(m_points);
        lock.unlock();
        runner.run(sink);
        return {};
    });
}

Store::Store(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const std::filesystem::path& file) {
    try {
        auto impl = std::make_unique<Impl>(file);
        if (auto prepared = impl->prepare(); !prepared)
            return tl::unexpected(prepared.error());
        return std::unique_ptr<Store>(new Store(std::move(impl)));
    } catch (const SqlError& error) {
        return tl::unexpected(toError(error, file.string()));
    }
}

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

Result<std::vector<ipc::SeriesInfo>> Store::listSeries(const AttemptKey& key, const std::string& glob) {
    return m_impl->listSeries(key, glob);
}

Result<void> Store::querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink) {
    return m_impl->querySeries(query, sink);
}

} // namespace telehelm::store
