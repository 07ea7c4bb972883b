// SPDX-License-Identifier: Apache-2.0
// Runs: how they start, how they are found again, how they end.
#include <algorithm>
#include <csignal>

#include <spdlog/spdlog.h>

#include "daemon/config_text.h"
#include "daemon/daemon.h"
#include "daemon/run_folder.h"
#include "daemon/run_origin.h"
#include "daemon/state_dir.h"

namespace telehelm::daemon {

using namespace ipc;
using supervise::Happening;
namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kFreeBytes = 500'000'000;

// The ranks of a request: they are the data axis.
Result<std::string> withRanks(const std::string& toml, const config::RunConfig& config, std::int32_t ranks) {
    const std::int32_t others = config.parallel.tensor * config.parallel.pipeline;
    if (ranks == 0 || ranks == config.parallel.ranks())
        return toml;
    if (ranks < 0 || ranks % others != 0)
        return fail(ErrorCode::InvalidArgument, std::to_string(ranks) + " ranks do not fit [parallel] tensor × pipeline = " + std::to_string(others) +
                                                    "; give a multiple of it", "start");
    return setTomlKey(toml, "parallel", "data", std::to_string(ranks / others));
}

Result<void> checkDomains(const config::RunConfig& config, const std::vector<CorpusDomain>& corpus, const std::string& where) {
    std::string known;
    for (const CorpusDomain& domain : corpus)
        known += (known.empty() ? "" : ", ") + domain.name;
    for (const auto& [name, percent] : config.data.mixture)
        if (std::none_of(corpus.begin(), corpus.end(), [&, &wanted = name](const CorpusDomain& d) { return d.name == wanted; }))
            return fail(ErrorCode::InvalidArgument, "[data.mixture] " + name + ": the corpus in " + corpusDirOf(config).string() +
                                                        " has no such domain; it has " + known, where);
    return {};
}

} // namespace

Result<void> Daemon::checkDisk() const {
    std::error_code error;
    const fs::space_info space = fs::space(m_options.stateDir, error);
    if (error || space.available >= kFreeBytes)
        return {};
    return fail(ErrorCode::ResourceExhausted, "only " + std::to_string(space.available / 1'000'000) +
                                                  " MB are free; a run needs at least 500 MB for checkpoints and points. Free some space, or use another --state-dir",
                m_options.stateDir.string());
}

Result<Daemon::Prepared> Daemon::prepareStart(const StartRequest& request) {
    const std::string where = request.configPath.empty() ? "config" : request.configPath;
    Prepared made;
    made.configToml = request.configToml;
    auto config = config::parseRunConfig(made.configToml, where);
    if (!config)
        return tl::unexpected(config.error());
    auto text = withRanks(made.configToml, *config, request.ranks);
    if (!text)
        return tl::unexpected(text.error());
    if (const fs::path corpus = config->data.corpus; !corpus.empty() && corpus.is_relative()) {
        // The trainer runs elsewhere: relative to the config's folder, as the operator meant it.
        const fs::path folder = fs::absolute(fs::path(request.configPath)).parent_path();
        text = setTomlKey(*text, "data", "corpus", tomlQuoted((folder / corpus).lexically_normal().string()));
    }
    if (*text != made.configToml) {
        made.configToml = *text;
        config = config::parseRunConfig(made.configToml, where);
        if (!config)
            return tl::unexpected(config.error());
    }
    made.config = *config;
    made.run = request.name.empty() ? config->name : request.name;
    if (!canNameRun(made.run))
        return fail(ErrorCode::InvalidArgument, "“" + made.run + "” cannot name a run; use letters, digits, “-”, “_” and “.”", "start");
    auto corpus = readCorpusFacts(corpusDirOf(made.config));
    if (!corpus)
        return tl::unexpected(corpus.error());
    made.corpus = std::move(*corpus);
    if (auto domains = checkDomains(made.config, made.corpus, where); !domains)
        return tl::unexpected(domains.error());
    if (auto space = checkDisk(); !space)
        return tl::unexpected(space.error());
    return made;
}

supervise::JobSpec Daemon::jobSpec(const RunEntry& entry, const AttemptInfo& attempt, std::int32_t ranks) const {
    supervise::JobSpec spec;
    spec.key = attempt.key;
    spec.ranks = ranks;
    spec.attemptDir = runDir(entry) / ("attempt-" + std::to_string(attempt.key.attempt));
    spec.checkpointDir = checkpointDir(entry);
    spec.linkFile = m_options.stateDir / "link-endpoint";
    return spec;
}

Result<RunInfo> Daemon::startRun(const StartRequest& request) {
    if (m_options.readOnly)
        return tl::unexpected(onlyReads());
    const std::lock_guard oneAtATime(m_startMutex);
    {
        const std::lock_guard lock(m_mutex);
        for (const auto& [name, entry] : m_runs)
            if (!request.commandId.empty() && entry.record.startCommand == request.commandId)
                return entry.info();
    }
    auto prepared = prepareStart(request);
    if (!prepared)
        return tl::unexpected(prepared.error());
    const std::lock_guard lock(m_mutex);
    std::string name = prepared->run;
    for (int number = 2; m_runs.contains(name); ++number)
        name = prepared->run + "-" + std::to_string(number);
    AttemptInfo attempt;
    attempt.key = {name, 1};
    attempt.configToml = prepared->configToml;
    RunEntry made;
    made.record = {name, prepared->config.description, nowUs(), request.commandId};
    made.folder = freeFolder(m_options.stateDir / "runs", name, [&](const std::string& folder) {
        return std::ranges::any_of(m_runs, [&](const auto& known) { return known.second.folder == folder; });
    });
    if (auto can = m_supervisor->canLaunch(jobSpec(made, attempt, prepared->config.parallel.ranks())); !can)
        return tl::unexpected(can.error());
    if (auto stored = m_store->addRun(made.record); !stored)
        return tl::unexpected(stored.error());
    RunEntry& entry = m_runs[name] = std::move(made);
    auto launched = launchAttempt(entry, attempt);
    if (entry.attempts.empty()) // not even on record
        m_runs.erase(name);
    if (!launched)
        return tl::unexpected(launched.error());
    Event event;
    event.key = attempt.key;
    event.kind = EventKind::Note;
    event.step = 0;
    event.text = "Run “" + name + "” started" + (request.author.empty() ? "" : " by " + request.author) +
                 (request.reason.empty() ? "." : ": " + request.reason);
    event.facts = {{"author", request.author}, {"host", request.host}, {"reason", request.reason}, {"config", request.configPath}};
    tellEvent(std::move(event));
    return entry.info();
}

Result<void> Daemon::launchAttempt(RunEntry& entry, AttemptInfo attempt) {
    supervise::JobSpec spec = jobSpec(entry, attempt, 1);
    attempt.state = AttemptState::Starting;
    attempt.startedUs = attempt.lastHeardUs = nowUs();
    attempt.runDir = spec.attemptDir.string();
    std::error_code error;
    fs::create_directories(spec.attemptDir, error);
    if (!error)
        fs::create_directories(spec.checkpointDir, error);
    if (error)
        return fail(ErrorCode::FailedPrecondition, "the run's folder cannot be made: " + error.message(), spec.attemptDir.string());
    if (auto written = writeFileAtomically(spec.attemptDir / "config.toml", attempt.configToml); !written)
        return written;
    if (auto stored = m_store->addAttempt(attempt); !stored)
        return stored;
    entry.attempts.push_back(attempt);
    entry.readConfig();
    spec.ranks = entry.config ? entry.config->parallel.ranks() : 1;
    AttemptInfo& here = entry.newest();
    entry.retry.launched(std::chrono::steady_clock::now());
    const auto launched = m_supervisor->launch(spec);
    if (!launched) {
        here.stateText = launched.error().text();
        happen(entry, here, Happening::EndedFailed);
        return tl::unexpected(launched.error());
    }
    spdlog::info("{}/{}: launched, pid {}, {} ranks", here.key.run, here.key.attempt, launched->pid, spec.ranks);
    m_heartbeats.expect(here.key, std::chrono::steady_clock::now() + std::chrono::seconds(20)); // loading takes its time
    tellAttempt(entry, here);
    return {};
}

Result<void> Daemon::readRuns() {
    auto records = m_store->runs();
    if (!records)
        return tl::unexpected(records.error());
    for (store::RunRecord& record : *records) {
        auto attempts = m_store->attempts(record.run);
        if (!attempts)
            return tl::unexpected(attempts.error());
        RunEntry& entry = m_runs[record.run];
        entry.record = std::move(record);
        entry.attempts = std::move(*attempts);
        if (entry.attempts.empty()) { // the daemon died between the two inserts
            m_runs.erase(entry.record.run);
            continue;
        }
        entry.folder = fs::path(entry.attempts.front().runDir).parent_path().filename().string();
        if (entry.folder.empty())
            entry.folder = entry.record.run;
        auto first = m_store->firstEvent(entry.record.run);
        if (!first)
            return tl::unexpected(first.error());
        entry.origin = *first ? originOf(**first) : std::nullopt;
        entry.readConfig();
        computeTokensSeen(entry);
        for (const AttemptInfo& attempt : entry.attempts)
            m_book.recovered(attempt.key, attempt.pointsStored);
    }
    return {};
}

// After a start of the daemon: running jobs are watched again, those that ended meanwhile are brought to their end.
Result<void> Daemon::recover() {
    if (auto read = readRuns(); !read)
        return read;
    for (auto& [name, entry] : m_runs) {
        auto pending = m_store->pendingCommands(entry.record.run);
        if (!pending)
            return tl::unexpected(pending.error());
        for (const Command& command : *pending)
            if (command.kind == CommandKind::Restart) {
                const bool isMade = entry.find(command.newAttempt) != nullptr && command.newAttempt != 0;
                settleAndTell({command.id, isMade ? CommandState::Applied : CommandState::Failed, isMade ? command.restart->checkpointStep + 1 : -1,
                               isMade ? "Attempt " + std::to_string(command.newAttempt) + " was made; the daemon was restarted meanwhile."
                                      : "The daemon was restarted before the new attempt was made; ask again."});
            }
        if (auto recalled = recallRetry(entry); !recalled) // once the restarts above are settled
            return recalled;
        for (AttemptInfo& attempt : entry.attempts) {
            if (isLive(attempt.state) && m_supervisor->adopt(attempt.key, attempt.runDir)) {
                spdlog::info("{}/{}: still running, taken up again", attempt.key.run, attempt.key.attempt);
                entry.retry.launched(std::chrono::steady_clock::now());
                m_heartbeats.expect(attempt.key, std::chrono::steady_clock::now() + std::chrono::seconds(5));
            } else if (isLive(attempt.state))
                m_tasks->add([this, key = attempt.key, log = fs::path(attempt.runDir) / "log.txt"] {
                    finishAttempt({key, std::nullopt, std::nullopt, supervise::lastLines(log, 12)});
                });
            else
                m_tasks->add([this, key = attempt.key] { drainSpool(key, Spool::OfEnded); });
        }
    }
    return {};
}

void Daemon::computeTokensSeen(RunEntry& entry) {
    entry.tokensSeen.clear();
    entry.seenUpTo.clear();
    SeriesQuery query;
    query.key.run = entry.record.run;
    query.names = {"mixture/*/actual", "mixture/*/target"};
    query.maxBuckets = 0;
    auto done = m_store->querySeries(query, [&](SeriesSegment&& segment) {
        for (const Bucket& point : segment.buckets)
            entry.takeMixturePoint(segment.name, point.firstTokens, point.first);
        return true;
    });
    if (!done)
        spdlog::error("{}", done.error().text());
}

// On the task thread, once per job.
void Daemon::finishAttempt(const supervise::JobExit& ended) {
    m_ingest->flush();
    drainSpool(ended.key);
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(ended.key.run);
    AttemptInfo* attempt = entry ? entry->find(ended.key.attempt) : nullptr;
    if (!attempt || !isLive(attempt->state))
        return;
    const AttemptState before = attempt->state;
    describeEnd(*entry, *attempt, ended);
    considerRetry(*entry, *attempt, before, ended);
    failPending(ended.key, std::string("The attempt ended (") + name(attempt->state) + ") before it was carried out.", "");
}

void Daemon::describeEnd(RunEntry& entry, AttemptInfo& attempt, const supervise::JobExit& ended) {
    const auto said = entry.ends.find(attempt.key.attempt);
    const bool hasSaid = said != entry.ends.end();
    std::string reason;
    if (hasSaid)
        if (const auto fact = said->second.facts.find("reason"); fact != said->second.facts.end())
            reason = fact->second;
    const bool isBadExit = ended.signal || (ended.exitCode && *ended.exitCode != 0);
    Happening happening = Happening::Vanished;
    if (isBadExit || reason == "failed")
        happening = Happening::EndedFailed;
    else if (reason == "finished" || (reason.empty() && ended.exitCode && entry.config && attempt.step >= entry.config->steps))
        happening = Happening::EndedFinished;
    else if (reason == "stopped" || ended.exitCode)
        happening = Happening::EndedStopped;
    const bool isFailure = happening == Happening::EndedFailed || happening == Happening::Vanished;
    attempt.stateText = hasSaid && !said->second.text.empty() ? said->second.text : "The job " + ended.text() + ".";
    if (isFailure && !ended.lastLogLines.empty())
        attempt.stateText += "\n" + ended.lastLogLines;
    Event event;
    event.key = attempt.key;
    event.step = attempt.step;
    event.tokens = attempt.tokens;
    event.text = "The job " + ended.text() + (isFailure && !ended.lastLogLines.empty() ? ". Its last lines:\n" + ended.lastLogLines : ".");
    if (isFailure) {
        event.kind = EventKind::RankFailed;
        event.severity = Severity::Critical;
        blameRank(entry, attempt, ended, event);
    } else
        event.kind = EventKind::AttemptEnded;
    if (isFailure || !hasSaid)
        tellEvent(std::move(event));
    happen(entry, attempt, happening);
}

void Daemon::stopAllJobs(int timeoutMs) {
    std::vector<AttemptKey> live;
    {
        const std::lock_guard lock(m_mutex);
        for (auto& [name, entry] : m_runs)
            if (!entry.attempts.empty() && isLive(entry.newest().state))
                live.push_back(entry.newest().key);
    }
    for (const AttemptKey& key : live) {
        Command stop;
        stop.id = newUuid();
        stop.key = key;
        stop.kind = CommandKind::Stop;
        stop.author = "telehelmd";
        stop.reason = "the daemon was asked to stop with its jobs";
        const auto sent = submit(stop);
        if (!sent || sent->state == CommandState::Rejected || !m_link->connected(key))
            m_supervisor->terminate(key);
    }
    for (const AttemptKey& key : live)
        if (!m_supervisor->waitUntilGone(key, timeoutMs)) {
            spdlog::warn("{}/{}: does not stop; it is killed", key.run, key.attempt);
            m_supervisor->kill(key);
            m_supervisor->waitUntilGone(key, 5000);
        }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    for (bool isLiveYet = true; isLiveYet && std::chrono::steady_clock::now() < end;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        const std::lock_guard lock(m_mutex);
        isLiveYet = std::any_of(live.begin(), live.end(), [&](const AttemptKey& key) {
            RunEntry* entry = findRun(key.run); // it may be deleted once it has ended
            const AttemptInfo* attempt = entry ? entry->find(key.attempt) : nullptr;
            return attempt && isLive(attempt->state);
        });
    }
}

} // namespace telehelm::daemon
