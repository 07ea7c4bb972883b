// SPDX-License-Identifier: Apache-2.0
// A run that another machine trained: what its trainer left in its spools is stored as if it had come over the link, exactly once. On the
// caller's thread, so that no restart and no job's end waits for a long one; the folder is only read.
#include <algorithm>
#include <bit>
#include <ctime>

#include <spdlog/spdlog.h>

#include "daemon/daemon.h"
#include "daemon/import_source.h"
#include "daemon/run_origin.h"
#include "daemon/state_dir.h"
#include "telehelm/ipc/sequence_text.h"

namespace telehelm::daemon {

using namespace ipc;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kPiecePoints = 1 << 16; // stored at once, more or less
constexpr std::size_t kPieceBatches = 1024;
constexpr std::uintmax_t kSpareBytes = 64'000'000;

std::string named(const std::string& run) { return "“" + run + "”"; }

std::string dateText(std::int64_t us) {
    const std::time_t seconds = us / 1'000'000;
    std::tm parts{};
    char text[32] = "";
    if (gmtime_r(&seconds, &parts) != nullptr)
        std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
    return text;
}

AttemptState stateOf(const Event& ended) {
    const auto reason = ended.facts.find("reason");
    if (reason == ended.facts.end() || reason->second == "stopped")
        return AttemptState::Stopped;
    return reason->second == "finished" ? AttemptState::Finished : AttemptState::Failed;
}

} // namespace

/// One import on its way.
struct Daemon::Import {
    const ImportRequest& request;
    const std::function<bool(const ImportProgress&)>& tell;
    ImportSource source;
    std::string run; // its name here
    ImportProgress progress;
    ImportReport report;
    bool hasNewAttempts = false;

    [[nodiscard]] AttemptKey keyOf(const AttemptSource& attempt) const { return {run, attempt.info.key.attempt}; }
    /// What an attempt is said to be from its first new batch to its last.
    [[nodiscard]] std::string cutOff() const { return "Its import from " + source.folder.string() + " was cut off; import that folder again."; }
    [[nodiscard]] Error calledOff() const { return {ErrorCode::Cancelled, "the import was cut off; what has come stays, and the same import again goes on", run}; }
};

Result<ImportReport> Daemon::importRun(const ImportRequest& request, const std::function<bool(const ImportProgress&)>& progress) {
    if (m_options.readOnly)
        return tl::unexpected(onlyReads());
    const std::unique_lock oneAtATime(m_importMutex, std::try_to_lock);
    if (!oneAtATime)
        return fail(ErrorCode::FailedPrecondition, "another import is under way; ask again when it is done", "telehelmd");
    // Each byte is read twice: to see what is whole, and to store it.
    auto source = openImport(request.folder, [&](std::uint64_t done, std::uint64_t total) { return progress({done, 2 * total, 0}); });
    if (!source)
        return tl::unexpected(source.error());
    Import import{request, progress, std::move(*source), request.name, {}, {}};
    if (import.run.empty())
        import.run = import.source.ownName();
    import.progress = {import.source.bytes, 2 * import.source.bytes, 0};
    import.report.run = import.run;
    import.report.warnings = import.source.warnings;
    if (auto begun = beginImport(import); !begun)
        return tl::unexpected(begun.error());
    auto done = storeImport(import);
    endImport(import);
    if (!done)
        return tl::unexpected(done.error());
    return std::move(import.report);
}

// Judges and registers under one lock, so that neither a start nor a deletion comes between.
Result<void> Daemon::beginImport(Import& import) {
    if (auto can = checkImport(import); !can)
        return can;
    const std::lock_guard lock(m_mutex);
    RunEntry* known = findRun(import.run);
    if (known != nullptr)
        if (auto same = isSameRun(*known, import.source); !same)
            return same.map_error([&](Error error) {
                if (error.code == ErrorCode::AlreadyExists)
                    error.message += "; import this one under another name: telehelmctl import " + import.request.folder + " --as NAME";
                return error;
            });
    std::vector<AttemptInfo> added;
    for (const AttemptSource& attempt : import.source.attempts)
        if (known == nullptr || known->find(attempt.info.key.attempt) == nullptr) {
            added.push_back(attempt.info);
            added.back().key = import.keyOf(attempt);
            added.back().stateText = import.cutOff();
        }
    import.report.hasAdded = import.hasNewAttempts = !added.empty();
    if (auto entered = enterImport(import, known, std::move(added)); !entered)
        return entered;
    for (const AttemptSource& attempt : import.source.attempts)
        m_draining.insert(import.keyOf(attempt));
    return {};
}

Result<void> Daemon::checkImport(const Import& import) const {
    const std::string folder = import.source.folder.string();
    if (!canNameRun(import.run))
        return fail(ErrorCode::InvalidArgument, named(import.run) + " cannot name a run; give another name with --as, of letters, digits, “-”, “_” and “.”", folder);
    std::error_code error;
    const fs::path own = fs::weakly_canonical(m_options.stateDir / "runs", error);
    if (const fs::path below = import.source.folder.lexically_relative(own); !below.empty() && *below.begin() != "..")
        return fail(ErrorCode::InvalidArgument, "is this daemon's own; it reads the spools of its runs by itself", folder);
    const fs::space_info space = fs::space(m_options.stateDir, error);
    if (!error && space.available < import.source.bytes + kSpareBytes)
        return fail(ErrorCode::ResourceExhausted,
                    "only " + std::to_string(space.available / 1'000'000) + " MB are free for the " + std::to_string(import.source.bytes / 1'000'000) +
                        " MB of the spools; free some space, or use another --state-dir",
                    m_options.stateDir.string());
    return {};
}

// Whether the folder holds the run that has this name here: one wall time in microseconds and the bits of a value say more than any name.
Result<void> Daemon::isSameRun(RunEntry& known, const ImportSource& source) {
    const std::string run = "the name " + named(known.record.run) + " is taken";
    if (!known.origin)
        return fail(ErrorCode::AlreadyExists, run + " by a run that this daemon started itself" + (isLive(known.newest().state) ? " and that runs here" : ""), "telehelmd");
    bool isSame = false;
    for (const AttemptSource& attempt : source.attempts) {
        AttemptInfo* here = known.find(attempt.info.key.attempt);
        const auto verdict = here != nullptr ? hasSamePoint(here->key, attempt.spool) : Result<std::optional<bool>>(std::nullopt);
        if (!verdict)
            return tl::unexpected(verdict.error());
        if (here != nullptr && !verdict->value_or(here->configToml == attempt.info.configToml))
            return fail(ErrorCode::AlreadyExists, run + " by another run (attempt " + std::to_string(here->key.attempt) + " has other points)", "telehelmd");
        const bool goesOnFromHere = here == nullptr && attempt.info.parent != 0 && known.find(attempt.info.parent) != nullptr;
        const bool isGoneOnFrom = std::ranges::any_of(known.attempts, [&](const AttemptInfo& child) { return child.parent == attempt.info.key.attempt; });
        isSame = isSame || here != nullptr || goesOnFromHere || isGoneOnFrom;
    }
    if (!isSame || known.origin->ownName != source.ownName())
        return fail(ErrorCode::AlreadyExists, run + " by a run that was imported from " + known.origin->folder + " and has nothing to do with this one", "telehelmd");
    return {};
}

// Nothing where the spool holds no point that is stored here.
Result<std::optional<bool>> Daemon::hasSamePoint(const AttemptKey& here, const SpoolReader& spool) {
    const auto isMissing = missingOf(here);
    if (!isMissing)
        return tl::unexpected(isMissing.error());
    for (const SpooledBatch& batch : spool.batches()) {
        if ((*isMissing)(batch.sequence) || batch.points == 0)
            continue;
        const auto value = spool.read(batch);
        const auto block = value ? std::ranges::find_if(value->series, [](const SeriesBlock& b) { return !b.points.empty(); }) : decltype(value->series.begin())();
        if (!value || block == value->series.end())
            continue;
        const Point& point = block->points.front();
        SeriesQuery query;
        query.key = here;
        query.names = {block->name};
        query.from = query.to = point.step;
        query.maxBuckets = 0;
        bool isThere = false;
        auto asked = m_store->querySeries(query, [&](SeriesSegment&& segment) {
            isThere = isThere || std::ranges::any_of(segment.buckets, [&](const Bucket& b) {
                return b.firstWallUs == point.wallUs && std::bit_cast<std::uint64_t>(b.first) == std::bit_cast<std::uint64_t>(point.value);
            });
            return true;
        });
        if (!asked)
            return tl::unexpected(asked.error());
        return isThere;
    }
    return std::nullopt;
}

Result<std::function<bool(std::uint64_t)>> Daemon::missingOf(const AttemptKey& key) {
    const auto stored = m_store->attempt(key);
    if (!stored || !*stored)
        return tl::unexpected(stored ? Error{ErrorCode::NotFound, "the run was deleted meanwhile", key.run} : stored.error());
    auto gaps = m_store->gaps(key);
    if (!gaps)
        return tl::unexpected(gaps.error());
    return [last = (*stored)->lastSequence, gaps = std::move(*gaps)](std::uint64_t sequence) {
        return sequence > last || std::ranges::any_of(gaps, [&](const store::SequenceGap& gap) { return gap.from <= sequence && sequence <= gap.to; });
    };
}

// m_mutex held. Run, attempts and the event that marks them are in the store together or not at all.
Result<void> Daemon::enterImport(Import& import, RunEntry* known, std::vector<AttemptInfo>&& added) {
    if (added.empty())
        return {};
    RunEntry made;
    RunEntry& entry = known != nullptr ? *known : made;
    if (known == nullptr) {
        made.record = {import.run, "", nowUs(), ""};
        if (const auto config = config::parseRunConfig(import.source.attempts.back().info.configToml, import.run))
            made.record.description = config->description;
        made.origin = RunOrigin{import.source.folder.string(), import.source.ownName(), import.source.attempts.back().trainedOn, made.record.createdUs,
                                import.request.author, import.request.host};
        made.folder = freeFolder(m_options.stateDir / "runs", import.run, [&](const std::string& folder) {
            return std::ranges::any_of(m_runs, [&](const auto& other) { return other.second.folder == folder; });
        });
    }
    for (AttemptInfo& attempt : added) {
        const fs::path folder = runDir(entry) / ("attempt-" + std::to_string(attempt.key.attempt));
        attempt.runDir = folder.string();
        std::error_code error;
        fs::create_directories(folder, error);
        if (error)
            return fail(ErrorCode::FailedPrecondition, "the run's folder cannot be made: " + error.message(), folder.string());
        if (auto written = writeFileAtomically(folder / "config.toml", attempt.configToml); !written)
            return written;
    }
    RunOrigin origin = *entry.origin;
    origin.folder = import.source.folder.string();
    origin.importedUs = nowUs();
    origin.author = import.request.author;
    origin.host = import.request.host;
    Event event = importEvent(origin, import.request.reason);
    event.key = added.front().key;
    auto stored = m_store->addImport(known == nullptr ? &made.record : nullptr, added, event);
    if (!stored)
        return tl::unexpected(stored.error());
    RunEntry& here = known != nullptr ? *known : m_runs[import.run] = std::move(made);
    here.attempts.insert(here.attempts.end(), added.begin(), added.end());
    std::ranges::sort(here.attempts, {}, [](const AttemptInfo& attempt) { return attempt.key.attempt; });
    here.readConfig();
    announce(std::move(*stored));
    tellProgress(here);
    return {};
}

Result<void> Daemon::storeImport(Import& import) {
    for (const AttemptSource& attempt : import.source.attempts) {
        ImportedAttempt& told = import.report.attempts.emplace_back();
        told.key = import.keyOf(attempt);
        told.damage = attempt.spool.damage();
        const auto before = m_store->attempt(told.key);
        if (auto stored = storeAttempt(import, attempt, told); !stored)
            return stored;
        const auto after = m_store->attempt(told.key);
        if (!before || !after || !*before || !*after)
            return tl::unexpected(!before ? before.error() : !after ? after.error() : Error{ErrorCode::NotFound, "the run was deleted meanwhile", import.run});
        told.pointsStored = (*after)->pointsStored;
        told.pointsAdded = told.pointsStored - (*before)->pointsStored;
        import.report.hasAdded = import.report.hasAdded || told.pointsAdded > 0;
        if (told.pointsStored < told.points)
            return fail(ErrorCode::Internal, "only " + std::to_string(told.pointsStored) + " of " + std::to_string(told.points) + " points are stored; the daemon's log says why",
                        attempt.spool.file().string());
        if (auto settled = settleAttempt(import, attempt, told); !settled)
            return settled;
    }
    warnOfParents(import);
    if (import.report.hasAdded && !import.hasNewAttempts)
        tellGrown(import);
    return {};
}

// What the store has is not even read again.
Result<void> Daemon::storeAttempt(Import& import, const AttemptSource& attempt, ImportedAttempt& told) {
    const auto isMissing = missingOf(told.key);
    if (!isMissing)
        return tl::unexpected(isMissing.error());
    std::vector<TelemetryBatch> piece;
    std::size_t points = 0;
    for (const SpooledBatch& batch : attempt.spool.batches()) {
        import.progress.doneBytes += batch.bytes;
        if ((*isMissing)(batch.sequence)) {
            auto value = attempt.spool.read(batch);
            if (!value && value.error().code != ErrorCode::DataLoss)
                return tl::unexpected(value.error());
            if (!value || value->key != attempt.info.key) {
                told.damage.push_back(value ? "Batch " + std::to_string(batch.sequence) + " is of another attempt, " + value->key.run + "/" +
                                                  std::to_string(value->key.attempt) + "."
                                            : value.error().message);
                continue;
            }
            if (piece.empty())
                markUnfinished(import, told.key);
            value->key = told.key;
            piece.push_back(std::move(*value));
            points += batch.points;
            import.report.hasAdded = true;
        }
        ++told.batches;
        told.points += batch.points;
        if (points < kPiecePoints && piece.size() < kPieceBatches)
            continue;
        if (auto stored = storePiece(import, piece, points); !stored)
            return stored;
    }
    return storePiece(import, piece, points);
}

void Daemon::markUnfinished(const Import& import, const AttemptKey& key) {
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(import.run);
    AttemptInfo* attempt = entry != nullptr ? entry->find(key.attempt) : nullptr;
    if (attempt == nullptr || attempt->stateText == import.cutOff())
        return;
    attempt->state = AttemptState::Lost;
    attempt->stateText = import.cutOff();
    tellAttempt(*entry, *attempt);
}

Result<void> Daemon::storePiece(Import& import, std::vector<TelemetryBatch>& piece, std::size_t& points) {
    if (!import.tell(import.progress))
        return tl::unexpected(import.calledOff());
    const auto inTrouble = [&](Error error) {
        error.message += ". The import stopped; what has come stays: mend this, then import the folder again";
        return error;
    };
    for (TelemetryBatch& batch : piece)
        if (auto queued = m_ingest->push(std::move(batch)); !queued)
            return tl::unexpected(inTrouble(queued.error()));
    piece.clear();
    m_ingest->flush();
    if (auto trouble = m_ingest->trouble())
        return tl::unexpected(inTrouble(std::move(*trouble)));
    import.progress.pointsAdded += std::exchange(points, 0);
    return {};
}

// How it ended, as far as its own last words tell; and what is missing.
Result<void> Daemon::settleAttempt(Import& import, const AttemptSource& source, ImportedAttempt& told) {
    const auto gaps = m_store->gaps(told.key);
    const auto events = m_store->events({import.run, 0, 0});
    if (!gaps || !events)
        return tl::unexpected(!gaps ? gaps.error() : events.error());
    for (const store::SequenceGap& gap : *gaps)
        told.missing.push_back({gap.from, gap.to});
    const Event* last = nullptr; // start or end
    for (const Event& event : *events)
        if (event.key == told.key && (event.kind == EventKind::AttemptStarted || event.kind == EventKind::AttemptEnded) && (!last || event.wallUs >= last->wallUs))
            last = &event;
    if (const auto acked = m_store->acknowledged(told.key, source.spool.batches().back().sequence + 1)) // nothing in the gaps will come
        m_book.acked(told.key, *acked);
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(import.run);
    AttemptInfo* attempt = entry != nullptr ? entry->find(told.key.attempt) : nullptr;
    if (attempt == nullptr)
        return fail(ErrorCode::NotFound, "the run was deleted meanwhile", import.run);
    const bool hasEnded = last != nullptr && last->kind == EventKind::AttemptEnded && last->wallUs >= source.lastUs;
    attempt->state = hasEnded ? stateOf(*last) : AttemptState::Lost;
    attempt->endedUs = hasEnded ? last->wallUs : std::max(source.lastUs, last != nullptr ? last->wallUs : 0);
    attempt->lastHeardUs = attempt->endedUs;
    attempt->stateText = hasEnded ? last->text : "It stopped reporting after step " + std::to_string(attempt->step) + ", on " + dateText(attempt->endedUs) +
                                                     ": its spool ends there without a word why. If it has gone on since, import its folder again.";
    attempt->pointsEmitted = std::max(attempt->pointsEmitted, told.points);
    told.state = attempt->state;
    told.step = attempt->step;
    if (import.report.hasAdded)
        tellAttempt(*entry, *attempt);
    if (import.report.hasAdded && (!told.missing.empty() || !told.damage.empty()))
        tellDamage(source, told);
    return {};
}

// An import that brought attempts has told of itself when it began.
void Daemon::tellGrown(const Import& import) {
    const ImportRequest& request = import.request;
    const std::string points = std::to_string(import.progress.pointsAdded), folder = import.source.folder.string();
    Event event;
    event.key = import.report.attempts.back().key;
    event.wallUs = nowUs();
    event.text = "Imported again" + (request.author.empty() ? "" : " by " + request.author) + " from " + folder + ", " + points + " more points" +
                 (request.reason.empty() ? "." : ": " + request.reason);
    event.facts = {{"folder", folder}, {"points", points}, {"author", request.author}, {"host", request.host}, {"reason", request.reason}};
    const std::lock_guard lock(m_mutex);
    tellEvent(std::move(event));
}

void Daemon::tellDamage(const AttemptSource& source, const ImportedAttempt& told) {
    Event event;
    event.key = told.key;
    event.kind = EventKind::Note;
    event.severity = Severity::Warning;
    event.text = "Not all of this attempt could be imported.";
    if (!told.missing.empty())
        event.text += " Missing are the batches " + listed(told.missing) + ".";
    if (source.spool.acked() > 0)
        event.text += " Those up to " + std::to_string(source.spool.acked()) + " its trainer had handed to another daemon.";
    for (const std::string& sentence : told.damage)
        event.text += " " + sentence;
    event.facts = {{"spool", source.spool.file().string()}, {"missing_batches", listed(told.missing)}};
    tellEvent(std::move(event));
}

void Daemon::warnOfParents(Import& import) {
    const std::lock_guard lock(m_mutex);
    RunEntry* entry = findRun(import.run);
    for (const AttemptSource& attempt : import.source.attempts)
        if (attempt.info.parent != 0 && entry != nullptr && entry->find(attempt.info.parent) == nullptr)
            import.report.warnings.push_back("Attempt " + std::to_string(attempt.info.key.attempt) + " goes on from step " + std::to_string(attempt.info.forkStep) +
                                             " of attempt " + std::to_string(attempt.info.parent) + ", which is not here; import its folder, too.");
}

// Also when it was cut off.
void Daemon::endImport(const Import& import) {
    const std::lock_guard lock(m_mutex);
    for (const AttemptSource& attempt : import.source.attempts)
        m_draining.erase(import.keyOf(attempt));
    RunEntry* entry = findRun(import.run);
    if (entry == nullptr)
        return;
    entry->readConfig();
    computeTokensSeen(*entry);
    tellProgress(*entry);
    spdlog::info("{}: import from {} ended, {} points are new", import.run, import.source.folder.string(), import.progress.pointsAdded);
}

} // namespace telehelm::daemon
