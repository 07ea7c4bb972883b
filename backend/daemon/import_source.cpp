// SPDX-License-Identifier: Apache-2.0
#include "daemon/import_source.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "config/run_config.h"
#include "daemon/run_origin.h"

namespace telehelm::daemon {

using namespace ipc;
namespace fs = std::filesystem;

namespace {

constexpr const char* kSpool = "spool";
constexpr const char* kConfig = "config.toml";
constexpr std::size_t kStartBatches = 64; // an attempt's start is told in one of its first

Result<fs::path> checkedFolder(const fs::path& asked) {
    std::error_code error;
    const fs::file_status status = fs::status(asked, error);
    if (error && status.type() != fs::file_type::not_found)
        return fail(ErrorCode::FailedPrecondition, "cannot be looked at: " + error.message() + "; let the user that telehelmd runs as read it", asked.string());
    if (!fs::exists(status))
        return fail(ErrorCode::NotFound, "there is no such folder on telehelmd's machine; bring the run's folder over first", asked.string());
    if (!fs::is_directory(status))
        return fail(ErrorCode::InvalidArgument, "is not a folder; give the one that telehelm-rank had as --run-dir, or the one around it", asked.string());
    return fs::weakly_canonical(asked, error);
}

// One folder itself, or those named attempt-… below it; by name, so that warnings come in order.
Result<std::vector<fs::path>> attemptFolders(const fs::path& folder) {
    std::error_code error;
    if (fs::exists(folder / kSpool, error))
        return std::vector{folder};
    std::vector<fs::path> found;
    for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator(); entry.increment(error))
        if (entry->path().filename().string().starts_with("attempt-"))
            found.push_back(entry->path());
    if (error)
        return fail(ErrorCode::FailedPrecondition, "cannot be read: " + error.message() + "; let the user that telehelmd runs as read it", folder.string());
    if (found.empty())
        return fail(ErrorCode::NotFound, "there is no spool in it and no folder attempt-1, attempt-2, …; give the folder that telehelm-rank had as --run-dir, or the one around it",
                    folder.string());
    std::ranges::sort(found);
    return found;
}

Result<std::string> readConfigText(const fs::path& folder) {
    const fs::path path = folder / kConfig;
    std::error_code error;
    std::ifstream file(path, std::ios::binary);
    if (!file || fs::is_directory(path, error))
        return fail(ErrorCode::NotFound, "is missing or cannot be read; put the TOML file there with which the attempt was started", path.string());
    return std::string(std::istreambuf_iterator<char>(file), {});
}

// What another process of the attempt had put aside holds points that nobody sees in the spool.
void warnOfAsides(const fs::path& folder, std::vector<std::string>& warnings) {
    std::error_code error;
    for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator(); entry.increment(error))
        if (entry->path().filename().string().starts_with("spool.aside-"))
            warnings.push_back(entry->path().string() + ": its trainer had put this spool aside; it is left out.");
}

void takeStart(AttemptSource& source, const Event& started) {
    const auto fact = [&](const char* name) {
        const auto found = started.facts.find(name);
        return found == started.facts.end() ? std::string() : found->second;
    };
    source.info.startedUs = started.wallUs;
    source.trainedOn = fact("host");
    if (const auto from = checkpointNameOf(fact("resumed_from")); from && from->attempt < source.info.key.attempt) {
        source.info.parent = from->attempt;
        source.info.forkStep = from->step;
    }
}

// Its first event tells all; where that batch is damaged, the config still knows the checkpoint.
void takeFork(AttemptSource& source) {
    const auto config = config::parseRunConfig(source.info.configToml, source.info.key.run);
    if (!config)
        return;
    if (const auto from = checkpointNameOf(config->resume.checkpoint); from && from->attempt < source.info.key.attempt) {
        source.info.parent = from->attempt;
        source.info.forkStep = from->step;
    }
}

std::int64_t newestUs(const TelemetryBatch& batch) {
    std::int64_t newest = 0;
    for (const SeriesBlock& block : batch.series)
        for (const Point& point : block.points)
            newest = std::max(newest, point.wallUs);
    for (const Event& event : batch.events)
        newest = std::max(newest, event.wallUs);
    return newest > 0 ? newest : batch.emittedUs;
}

void takeFacts(AttemptSource& source) {
    const std::vector<SpooledBatch>& batches = source.spool.batches();
    bool hasStart = false;
    for (std::size_t i = 0; i < std::min(batches.size(), kStartBatches) && !hasStart; ++i) {
        const auto batch = source.spool.read(batches[i]);
        if (!batch)
            continue; // told when it is to be stored
        if (source.info.key.run.empty()) {
            source.info.key = batch->key;
            source.info.startedUs = batch->emittedUs;
        }
        for (const Event& event : batch->events)
            if (event.kind == EventKind::AttemptStarted && !std::exchange(hasStart, true))
                takeStart(source, event);
    }
    if (!hasStart)
        takeFork(source);
    for (auto batch = batches.rbegin(); batch != batches.rend() && source.lastUs == 0; ++batch)
        if (const auto last = source.spool.read(*batch))
            source.lastUs = newestUs(*last);
    source.info.step = source.info.forkStep;
    source.info.state = AttemptState::Lost;
}

Result<std::optional<AttemptSource>> openAttempt(const fs::path& folder, ImportSource& import, const std::function<bool(std::uint64_t)>& goesOn) {
    warnOfAsides(folder, import.warnings);
    auto spool = SpoolReader::open(folder / kSpool, goesOn);
    if (!spool && spool.error().code == ErrorCode::NotFound && folder != import.folder) {
        import.warnings.push_back(folder.string() + ": there is no spool in it; nothing of this attempt can come.");
        return std::nullopt;
    }
    if (!spool)
        return tl::unexpected(spool.error());
    AttemptSource source{std::move(*spool), {}, {}, 0};
    if (source.spool.batches().empty()) {
        import.warnings.push_back(source.spool.file().string() + (source.spool.acked() > 0
                                      ? ": it is empty: its trainer has handed everything to another daemon, which has it."
                                      : ": it is empty; nothing of this attempt can come."));
        return std::nullopt;
    }
    auto config = readConfigText(folder);
    if (!config)
        return tl::unexpected(config.error());
    source.info.configToml = std::move(*config);
    takeFacts(source);
    if (source.info.key.run.empty() || source.info.key.attempt == 0)
        return fail(ErrorCode::DataLoss, "none of its first batches can be understood, so nobody can tell whose they are", source.spool.file().string());
    return source;
}

Result<void> add(ImportSource& import, AttemptSource source) {
    const AttemptKey& key = source.info.key;
    if (!import.attempts.empty() && import.ownName() != key.run)
        return fail(ErrorCode::InvalidArgument, "the folder holds attempts of two runs, “" + import.ownName() + "” and “" + key.run + "”; import their folders one by one",
                    source.spool.file().string());
    if (const AttemptSource* twin = import.find(key.attempt))
        return fail(ErrorCode::InvalidArgument, "holds attempt " + std::to_string(key.attempt) + ", as " + twin->spool.file().string() + " does; take one of them away",
                    source.spool.file().string());
    const auto config = config::parseRunConfig(source.info.configToml, (source.spool.file().parent_path() / kConfig).string());
    if (!config)
        import.warnings.push_back(config.error().text() + ". The attempt comes without what its config tells.");
    import.attempts.push_back(std::move(source));
    return {};
}

} // namespace

const AttemptSource* ImportSource::find(std::uint32_t attempt) const {
    const auto found = std::ranges::find_if(attempts, [&](const AttemptSource& source) { return source.info.key.attempt == attempt; });
    return found == attempts.end() ? nullptr : &*found;
}

Result<ImportSource> openImport(const fs::path& asked, const std::function<bool(std::uint64_t, std::uint64_t)>& goesOn) {
    auto folder = checkedFolder(asked);
    if (!folder)
        return tl::unexpected(folder.error());
    const auto folders = attemptFolders(*folder);
    if (!folders)
        return tl::unexpected(folders.error());
    ImportSource import;
    import.folder = std::move(*folder);
    std::error_code unseen; // open() tells it better
    std::uint64_t total = 0;
    for (const fs::path& attempt : *folders)
        if (const auto bytes = fs::file_size(attempt / kSpool, unseen); !unseen)
            total += bytes;
    for (const fs::path& attempt : *folders) {
        auto source = openAttempt(attempt, import, [&](std::uint64_t done) { return goesOn(import.bytes + done, total); });
        if (!source)
            return tl::unexpected(source.error());
        if (!*source)
            continue;
        import.bytes += (*source)->spool.bytes();
        if (auto added = add(import, std::move(**source)); !added)
            return tl::unexpected(added.error());
    }
    if (import.attempts.empty())
        return fail(ErrorCode::FailedPrecondition, "there is nothing to import: " + import.warnings.back(), import.folder.string());
    std::ranges::sort(import.attempts, {}, [](const AttemptSource& source) { return source.info.key.attempt; });
    return import;
}

} // namespace telehelm::daemon
