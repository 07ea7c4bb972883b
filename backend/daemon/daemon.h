// SPDX-License-Identifier: Apache-2.0
// telehelmd without its main(): the control service over store, supervisor, trainer link and live stream.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "daemon/checkpoint_shelf.h"
#include "daemon/fidelity_book.h"
#include "daemon/ingest_queue.h"
#include "daemon/purger.h"
#include "daemon/run_entry.h"
#include "daemon/run_folder.h"
#include "daemon/task_queue.h"
#include "daemon/watch_hub.h"
#include "store/store.h"
#include "supervise/attempt_machine.h"
#include "supervise/heartbeat_watch.h"
#include "supervise/supervisor.h"
#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/live.h"
#include "telehelm/ipc/spool_reader.h"
#include "telehelm/ipc/trainer_link.h"

namespace telehelm::daemon {

struct AttemptSource;
struct ImportSource;

struct DaemonOptions {
    std::filesystem::path stateDir;     // locked by the caller
    std::string liveEndpoint = "tcp://127.0.0.1:*";
    std::string linkEndpoint = "tcp://127.0.0.1:*";
    bool readOnly = false;              // only shows what is stored: no jobs, no trainers, no commands; writes nothing, needs no lock
    std::filesystem::path rankProgram;  // empty: telehelm-rank beside this program
};

/// Any thread may call the ControlApi. Lock order: m_mutex, then the locks of members.
class Daemon final : public ipc::ControlApi, private ipc::TrainerHandler {
public:
    /// Opens the store, takes up running jobs, serves trainers and the live stream.
    static Result<std::unique_ptr<Daemon>> open(DaemonOptions options);
    ~Daemon() override; // jobs go on
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// When somebody asked for a shutdown: whether jobs are to stop. Waits at most `timeoutMs`.
    [[nodiscard]] std::optional<bool> waitForShutdown(int timeoutMs);
    /// Stops every live job (saving first), kills those that have not ended in time.
    void stopAllJobs(int timeoutMs);
    [[nodiscard]] std::string epoch() const { return m_epoch; }
    [[nodiscard]] std::string liveEndpoint() const { return m_live->endpoint(); }
    [[nodiscard]] std::string linkEndpoint() const { return m_link->endpoint(); }

    Result<ipc::HelloInfo> hello(std::uint32_t clientProtocol, const std::string& clientProgram) override;
    Result<std::vector<ipc::RunInfo>> listRuns() override;
    Result<ipc::RunInfo> getRun(const std::string& run) override;
    Result<ipc::RunInfo> startRun(const ipc::StartRequest& request) override;
    Result<ipc::ImportReport> importRun(const ipc::ImportRequest& request, const std::function<bool(const ipc::ImportProgress&)>& progress) override;
    Result<ipc::DeletedRun> deleteRun(const ipc::DeleteRequest& request) override;
    Result<ipc::Command> submit(const ipc::Command& command) override;
    Result<ipc::Command> getCommand(const std::string& id) override;
    Result<std::vector<ipc::DeletedRun>> listDeletedRuns() override;
    Result<std::vector<ipc::Command>> listCommands(const ipc::CommandQuery& query) override;
    Result<std::vector<ipc::Event>> listEvents(const ipc::EventQuery& query) override;
    Result<ipc::Event> addNote(const ipc::Event& note) override;
    Result<std::vector<ipc::CheckpointInfo>> listCheckpoints(const std::string& run) override;
    Result<ipc::SeriesPage> listSeries(const ipc::SeriesListQuery& query) override;
    Result<ipc::LineageInfo> lineage(const std::string& run) override;
    Result<void> querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink) override;
    Result<void> watch(const std::string& run, const std::function<bool(ipc::WatchUpdate&&)>& sink) override;
    Result<ipc::DaemonStatus> status() override;
    Result<void> report(const ipc::ClientCounters& client) override;
    Result<void> shutdown(bool stopJobs) override;

private:
    explicit Daemon(DaemonOptions options);
    Result<void> start();

    // daemon_trainers.cpp: the link server's thread and the ingest thread.
    Result<std::uint64_t> onHello(const ipc::TrainerHello& hello) override;
    Result<std::uint64_t> onBatch(ipc::TelemetryBatch&& batch) override;
    void onHeartbeat(const ipc::TrainerHeartbeat& beat) override;
    void onGone(const ipc::AttemptKey& key, bool goodbye) override;
    void onBadFrame(const Error& error) override;
    void onCommit(std::vector<ipc::TelemetryBatch>&& batches, std::vector<store::IngestedBatch>&& done);
    void onCommitted(ipc::TelemetryBatch&& batch, const store::IngestedBatch& done);
    void onStoreTrouble(const std::optional<Error>& trouble);
    void tellMissing(const ipc::AttemptKey& key, std::uint64_t from, std::uint64_t to); // batches
    void minderLoop();
    enum class Spool : bool { Any, OfEnded };
    void drainSpool(const ipc::AttemptKey& key, Spool whose = Spool::Any);

    // daemon_runs.cpp
    struct Prepared { // a start request that can be carried out
        std::string run, configToml;
        config::RunConfig config;
        std::vector<CorpusDomain> corpus;
    };
    Result<Prepared> prepareStart(const ipc::StartRequest& request);
    Result<void> launchAttempt(RunEntry& entry, ipc::AttemptInfo attempt); // m_mutex held; adds it to the entry
    [[nodiscard]] supervise::JobSpec jobSpec(const RunEntry& entry, const ipc::AttemptInfo& attempt, std::int32_t ranks) const;
    Result<void> readRuns();
    Result<void> recover();
    void computeTokensSeen(RunEntry& entry);
    void finishAttempt(const supervise::JobExit& ended);
    void describeEnd(RunEntry& entry, ipc::AttemptInfo& attempt, const supervise::JobExit& ended);
    void failPending(const ipc::AttemptKey& key, const std::string& why, const std::string& exceptId);
    [[nodiscard]] Result<void> checkDisk() const;

    // daemon_delete.cpp; m_mutex held, but for the last
    [[nodiscard]] std::optional<std::string> whyNotDeleted(const RunEntry& entry) const;
    [[nodiscard]] std::optional<std::string> whoNeedsCheckpoints(const RunEntry& entry) const;
    [[nodiscard]] ipc::DeletedRun recordOf(const RunEntry& entry, const ipc::DeleteRequest& request);
    void forgetRun(const ipc::DeletedRun& record);
    void putFoldersBack();

    // daemon_import.cpp
    struct Import;
    Result<void> beginImport(Import& import);
    [[nodiscard]] Result<void> checkImport(const Import& import) const;
    [[nodiscard]] Result<void> isSameRun(RunEntry& known, const ImportSource& source); // m_mutex held
    [[nodiscard]] Result<std::optional<bool>> hasSamePoint(const ipc::AttemptKey& here, const ipc::SpoolReader& spool);
    [[nodiscard]] Result<std::function<bool(std::uint64_t)>> missingOf(const ipc::AttemptKey& key); // batches, by number
    Result<void> enterImport(Import& import, RunEntry* known, std::vector<ipc::AttemptInfo>&& added); // m_mutex held
    Result<void> storeImport(Import& import);
    Result<void> storeAttempt(Import& import, const AttemptSource& attempt, ipc::ImportedAttempt& told);
    Result<void> storePiece(Import& import, std::vector<ipc::TelemetryBatch>& piece, std::size_t& points);
    Result<void> settleAttempt(Import& import, const AttemptSource& source, ipc::ImportedAttempt& told);
    void tellDamage(const AttemptSource& source, const ipc::ImportedAttempt& told); // m_mutex held
    void markUnfinished(const Import& import, const ipc::AttemptKey& key);
    void tellGrown(const Import& import);
    void warnOfParents(Import& import);
    void endImport(const Import& import);

    // daemon_commands.cpp, daemon_restart.cpp
    [[nodiscard]] std::optional<std::string> judge(ipc::Command& command, RunEntry& entry);
    [[nodiscard]] std::optional<std::string> judgeRestart(ipc::Command& command, RunEntry& entry);
    enum class Look : bool { IfUnknown, Again };
    [[nodiscard]] Result<ipc::CheckpointInfo> chooseCheckpoint(const std::string& run, const std::filesystem::path& folder,
                                                               const ipc::RestartOptions& options, Look look);
    void accepted(RunEntry& entry, const ipc::Command& command); // m_mutex held
    void settled(RunEntry& entry, const ipc::Command& command);  // m_mutex held
    void settleAndTell(const ipc::CommandOutcome& outcome, const std::function<void(ipc::Command&)>& change = {});
    void carryOutRestart(const std::string& commandId);
    Result<std::uint32_t> restartNow(const ipc::Command& command);
    void endForRestart(const ipc::AttemptKey& key, std::uint32_t replacedBy, const std::string& commandId);

    // daemon_recovery.cpp; m_mutex held, but for the last two, which lock
    void blameRank(const RunEntry& entry, ipc::AttemptInfo& attempt, const supervise::JobExit& ended, ipc::Event& event) const;
    void considerRetry(RunEntry& entry, const ipc::AttemptInfo& attempt, ipc::AttemptState before, const supervise::JobExit& ended);
    Result<void> recallRetry(RunEntry& entry);
    [[nodiscard]] bool overruleRetry(RunEntry& entry, const ipc::Command& command);
    void mindRetries();
    void killHung(RunEntry& entry, const ipc::AttemptInfo& attempt, double silentS);
    void tellNoCheckpoint(const ipc::AttemptInfo& failed, const std::string& leftOut);
    struct Choice {
        std::optional<ipc::CheckpointInfo> checkpoint; // the newest that may be taken
        std::string leftOut; // those newer than it and why, a line each; empty: there was none
    };
    [[nodiscard]] Choice lastGoodCheckpoint(const std::string& run);
    void carryOutRetry(const std::string& run);

    // Telling others; m_mutex held.
    void happen(RunEntry& entry, ipc::AttemptInfo& attempt, supervise::Happening happening);
    void tellAttempt(RunEntry& entry, const ipc::AttemptInfo& attempt); // stores it, too
    void tellCommand(const ipc::Command& command);
    void tellEvent(ipc::Event event); // stores it, too
    void announce(ipc::Event stored);
    void tellProgress(RunEntry& entry);
    RunEntry* findRun(const std::string& run);
    [[nodiscard]] ipc::RunCounters countersOf(const RunEntry& entry, const ipc::LiveCounters& live) const;
    [[nodiscard]] Error onlyReads() const;
    [[nodiscard]] Error unknownRun(const std::string& run) const;
    [[nodiscard]] std::filesystem::path runDir(const RunEntry& entry) const { return m_options.stateDir / "runs" / entry.folder; }
    [[nodiscard]] std::filesystem::path checkpointDir(const RunEntry& entry) const { return runDir(entry) / kCheckpoints; }

    // constant after start()
    const DaemonOptions m_options;
    const std::string m_epoch;
    const std::int64_t m_startedUs;

    // guarded by m_mutex
    mutable std::mutex m_mutex;
    std::map<std::string, RunEntry> m_runs;
    supervise::HeartbeatWatch m_heartbeats;
    std::set<ipc::AttemptKey> m_draining; // spools being read by ourselves, imported ones too
    std::optional<bool> m_shutdown;
    std::condition_variable m_shutdownAsked;
    std::mutex m_startMutex; // one start at a time; taken before m_mutex
    std::mutex m_importMutex; // one import at a time; taken before m_mutex

    // have their own locks; the order is that of their dependence
    std::unique_ptr<store::Store> m_store;
    std::unique_ptr<ipc::LivePublisher> m_live;
    WatchHub m_hub;
    FidelityBook m_book;
    std::unique_ptr<CheckpointShelf> m_shelf;
    std::unique_ptr<Purger> m_purger;
    std::unique_ptr<IngestQueue> m_ingest;
    std::mutex m_linkMutex; // only between the ingest thread's acks and the end
    std::unique_ptr<ipc::TrainerLinkServer> m_link;
    std::unique_ptr<supervise::Supervisor> m_supervisor;
    std::unique_ptr<TaskQueue> m_tasks;
    std::atomic<bool> m_stopping{false};
    std::thread m_minder;
};

} // namespace telehelm::daemon
