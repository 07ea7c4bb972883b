// SPDX-License-Identifier: Apache-2.0
// What telehelmd keeps: runs, attempts, series, events and commands in one SQLite file (WAL). README.md has the format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/ingest_ledger.h"
#include "store/records.h"
#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"

namespace telehelm::store {

/// What became of one batch of an ingest().
struct IngestedBatch {
    bool stored = false;       // false: a duplicate, nothing changed
    std::uint64_t ack = 0;     // every batch up to this number is durable, or lost for good
    std::uint64_t points = 0;
    std::vector<ipc::Command> settled; // commands that its outcomes settled
    std::optional<Error> refused;      // e.g. its attempt is unknown
};

/// Any thread; every method blocks until its work is durable or read.
class Store {
public:
    /// ReadOnly changes not a byte, also where nobody could (a disk mounted read-only): what writes fails with FailedPrecondition.
    enum class Access { ReadWrite, ReadOnly };
    static Result<std::unique_ptr<Store>> open(const std::filesystem::path& file, Access access = Access::ReadWrite);
    ~Store();
    /// What open() noticed that an operator should know, in plain sentences; empty: nothing.
    [[nodiscard]] const std::vector<std::string>& notices() const;

    // Runs and attempts.
    Result<void> addRun(const RunRecord& run);
    Result<std::vector<RunRecord>> runs();
    Result<void> addAttempt(const ipc::AttemptInfo& attempt);
    Result<std::vector<ipc::AttemptInfo>> attempts(const std::string& run); // oldest first
    Result<std::optional<ipc::AttemptInfo>> attempt(const ipc::AttemptKey& key);
    /// State, text, end, heard-of time and emitted count; step and tokens never go back.
    Result<void> updateAttempt(const ipc::AttemptInfo& attempt);

    /// In one transaction: a run that another machine trained (nullptr: it is known), those of its attempts that are new, and the event that tells
    /// where they came from, which is the run's first then.
    Result<ipc::Event> addImport(const RunRecord* run, const std::vector<ipc::AttemptInfo>& attempts, ipc::Event event);

    // Deletion.
    /// The run, its events and commands are found no more, its name is free; their rows stay until purge() has taken them. What comes for
    /// its attempts is refused. The record comes back with its attempts and points.
    Result<ipc::DeletedRun> deleteRun(const ipc::DeletedRun& record);
    /// Takes away some of what deleted runs have left, within 10 ms or so; false: nothing is left.
    Result<bool> purge();
    Result<std::vector<ipc::DeletedRun>> deletedRuns(); // oldest first

    // Events and commands.
    Result<ipc::Event> addEvent(ipc::Event event); // with its id
    Result<std::vector<ipc::Event>> events(const ipc::EventQuery& query);
    Result<std::optional<ipc::Event>> firstEvent(const std::string& run);
    Result<void> putCommand(const ipc::Command& command);
    Result<std::optional<ipc::Command>> command(const std::string& id);
    Result<std::vector<ipc::Command>> commands(const ipc::CommandQuery& query);
    Result<std::vector<ipc::Command>> pendingCommands(const std::string& run);
    /// The settled command, or nothing when it is unknown or was settled before.
    Result<std::optional<ipc::Command>> settleCommand(const ipc::CommandOutcome& outcome);

    // Telemetry.
    /// Stores the batches in one transaction: points, events (which get their ids), outcomes, sequence numbers. On an Error
    /// nothing of it is stored.
    Result<std::vector<IngestedBatch>> ingest(std::span<ipc::TelemetryBatch> batches);
    /// The number up to which everything is stored or lost; `firstUnacked` is the oldest batch that the trainer still has:
    /// what is missing before it will never come.
    Result<std::uint64_t> acknowledged(const ipc::AttemptKey& key, std::uint64_t firstUnacked);
    Result<std::vector<SequenceGap>> gaps(const ipc::AttemptKey& key);
    Result<std::uint64_t> pointsStored();

    // History.
    Result<ipc::SeriesPage> listSeries(const ipc::SeriesListQuery& query);
    Result<ipc::LineageInfo> lineage(const std::string& run);
    /// Damage costs only what it holds: the segments name it in `missing`.
    Result<void> querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink);

private:
    class Impl;
    explicit Store(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

} // namespace telehelm::store
