// SPDX-License-Identifier: Apache-2.0
// The control service as an interface. telehelmd implements it, ControlServer offers it over gRPC, ControlClient
// implements it by calling a remote one: a caller cannot tell whether the other side is in its own process.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/status.h"
#include "telehelm/ipc/types.h"

namespace telehelm::ipc {

struct StartRequest {
    std::string configToml;
    std::string configPath;       // for messages and relative paths
    std::string name;             // overrides the config's
    std::string author, host, reason;
    std::int32_t ranks = 0;       // 0: as the config says
    std::string commandId;        // UUID; the same one again answers with the same run
};

struct DeleteRequest {
    std::string run;
    bool keepCheckpoints = false;
    bool onlyLook = false;        // tells what would go, or why it may not, and changes nothing
    std::string author, host, reason;
};

struct ImportRequest {
    std::string folder;           // on the daemon's machine: of one attempt, or of a run, with attempt-1, attempt-2, …
    std::string name;             // under which it is kept; empty: its own
    std::string author, host, reason;
};

struct SequenceRange {
    std::uint64_t first = 0, last = 0; // inclusive
    bool operator==(const SequenceRange&) const = default;
};

struct ImportedAttempt {
    AttemptKey key;
    AttemptState state = AttemptState::Lost;
    std::int64_t step = 0;
    std::uint64_t batches = 0;      // whole ones in the spool
    std::uint64_t points = 0;       // in these
    std::uint64_t pointsAdded = 0;  // by this import
    std::uint64_t pointsStored = 0; // of the attempt, after it
    std::vector<SequenceRange> missing; // batches that neither the spool nor the store has
    std::vector<std::string> damage;    // what of the spool cannot be read, a sentence each
    bool operator==(const ImportedAttempt&) const = default;
};

struct ImportReport {
    std::string run;
    bool hasAdded = false; // points, events or attempts
    std::vector<ImportedAttempt> attempts; // those of the folder, oldest first
    std::vector<std::string> warnings;     // what else of the folder did not come, a sentence each
    bool operator==(const ImportReport&) const = default;
};

struct ImportProgress {
    std::uint64_t doneBytes = 0, totalBytes = 0; // of the spools
    std::uint64_t pointsAdded = 0;
};

struct EventQuery {
    std::string run;              // empty: all runs
    std::int64_t afterId = 0;
    std::uint32_t limit = 0;      // 0: all
};

struct CommandQuery {
    std::string run;              // empty: all runs
    std::int64_t sinceUs = 0;
    std::uint32_t limit = 0;
};

/// One change that a watcher is told of; exactly one of the members is set.
struct WatchUpdate {
    std::optional<RunInfo> run;
    std::optional<Event> event;
    std::optional<Command> command;
    std::optional<DeletedRun> deleted = std::nullopt;
};

/// Thread safety: every method may be called from any thread. All of them block.
class ControlApi {
public:
    virtual ~ControlApi() = default;

    /// First call of every client, with the newest protocol that it speaks; the answer says which one both speak.
    virtual Result<HelloInfo> hello(std::uint32_t clientProtocol, const std::string& clientProgram) = 0;

    virtual Result<std::vector<RunInfo>> listRuns() = 0;
    virtual Result<RunInfo> getRun(const std::string& run) = 0;

    /// Validates the config, makes the run and launches its first attempt.
    virtual Result<RunInfo> startRun(const StartRequest& request) = 0;

    /// Deletes an ended run: it is gone everywhere at once, its space comes free by and by. Daemons before it was there do not know the call.
    virtual Result<DeletedRun> deleteRun(const DeleteRequest& /*request*/) { return fail(ErrorCode::VersionMismatch, "this daemon cannot delete runs"); }
    /// Who deleted what, and why; oldest first. As above.
    virtual Result<std::vector<DeletedRun>> listDeletedRuns() { return fail(ErrorCode::VersionMismatch, "this daemon cannot delete runs"); }

    /// Takes over what another machine's trainer has left in its spools, exactly once; the folder stays as it is. `progress` is called every now and
    /// then; when it returns false the import ends as cut off (Cancelled): what has come stays, and the same import again goes on. As above.
    virtual Result<ImportReport> importRun(const ImportRequest& /*request*/, const std::function<bool(const ImportProgress&)>& /*progress*/) {
        return fail(ErrorCode::VersionMismatch, "this daemon cannot import runs");
    }

    /// Accepts or rejects; a rejected command comes back with state Rejected and its reason (not as an Error).
    virtual Result<Command> submit(const Command& command) = 0;
    virtual Result<Command> getCommand(const std::string& id) = 0;
    virtual Result<std::vector<Command>> listCommands(const CommandQuery& query) = 0; // newest first

    virtual Result<std::vector<Event>> listEvents(const EventQuery& query) = 0;       // oldest first
    virtual Result<Event> addNote(const Event& note) = 0;
    virtual Result<std::vector<CheckpointInfo>> listCheckpoints(const std::string& run) = 0; // newest first

    /// One page; a run may have millions of series (listAllSeries() walks all pages).
    virtual Result<SeriesPage> listSeries(const SeriesListQuery& query) = 0;
    /// Forks, superseded stretches and what they cost.
    virtual Result<LineageInfo> lineage(const std::string& run) = 0;

    /// Calls `sink` once per segment, pass by pass, run by run, series by series, oldest stretch first; `sink` returns false
    /// to stop early. What can't be read is named in the segment's `missing`, and the rest comes all the same.
    virtual Result<void> querySeries(const SeriesQuery& query,
                                     const std::function<bool(SeriesSegment&&)>& sink) = 0;

    /// Sends the present state of every run, then each change, until `sink` returns false or the peer is gone.
    /// `sink` is called at least every 2 s (with an empty update) so that it can say stop.
    virtual Result<void> watch(const std::string& run, const std::function<bool(WatchUpdate&&)>& sink) = 0;

    /// Counters of the daemon, of each run and of the clients that report theirs. Peers of protocol 1 have neither call.
    virtual Result<DaemonStatus> status() { return fail(ErrorCode::VersionMismatch, "this daemon does not tell its counters"); }
    /// What a client received and repaired; every few seconds.
    virtual Result<void> report(const ClientCounters& /*client*/) { return {}; }

    /// Stops the daemon. Training jobs go on unless `stopJobs`.
    virtual Result<void> shutdown(bool stopJobs) = 0;
};

/// All pages of listSeries() as one list.
Result<std::vector<SeriesInfo>> listAllSeries(ControlApi& api, const AttemptKey& key, const std::string& glob);

} // namespace telehelm::ipc
