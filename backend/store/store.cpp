// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include "store/deleted_runs.h"
#include "store/records.h"
#include "store/schema.h"
#include "store/store_impl.h"

namespace telehelm::store {
namespace {

using ipc::AttemptKey;

std::string lostCommits(std::uint64_t commits, const std::filesystem::path& file) {
    return "the store has lost its last " + std::to_string(commits) + " transactions: " + file.filename().string() +
           "-wal was cut off or removed, or an older copy of the store was put in its place. What trainers still hold comes again; what "
           "they don't is missing from then on";
}

} // namespace

Error unknownAttempt(const AttemptKey& key) {
    return {ErrorCode::NotFound, "no attempt " + std::to_string(key.attempt) + " of run “" + key.run + "” is known here", "store"};
}

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

Result<ipc::Event> Store::addImport(const RunRecord* run, const std::vector<ipc::AttemptInfo>& attempts, ipc::Event event) {
    return m_impl->write<ipc::Event>([&](Database& db) {
        if (run != nullptr)
            insertRun(db, *run);
        for (const ipc::AttemptInfo& attempt : attempts)
            insertAttempt(db, attempt);
        insertEvent(db, event);
        return event;
    });
}

Result<std::optional<ipc::Event>> Store::firstEvent(const std::string& run) {
    return m_impl->read<std::optional<ipc::Event>>([&](Database& db) { return selectFirstEvent(db, run); });
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
