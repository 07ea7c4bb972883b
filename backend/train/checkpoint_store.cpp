// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint_store.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "train/file_io.h"

namespace telehelm::train {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kTemporary = ".tmp-";

std::optional<CheckpointName> parseName(const fs::path& path) {
    const std::string name = path.filename().string();
    unsigned attempt = 0;
    long long step = 0;
    int used = 0;
    if (std::sscanf(name.c_str(), "a%u-step-%lld%n", &attempt, &step, &used) != 2 ||
        static_cast<std::size_t>(used) != name.size()) {
        return std::nullopt;
    }
    return CheckpointName{path, attempt, step};
}

Result<void> checkSize(const fs::path& path, const FileEntry& file) {
    std::error_code error;
    const auto size = fs::file_size(path / file.name, error);
    if (error) {
        return fail(ErrorCode::DataLoss, file.name + " is missing", path.string());
    }
    return static_cast<std::int64_t>(size) == file.bytes
               ? Result<void>()
               : fail(ErrorCode::DataLoss, file.name + " has " + std::to_string(size) + " bytes, not " + std::to_string(file.bytes),
                      path.string());
}

Result<void> checkContent(const fs::path& path, const FileEntry& file) {
    const Result<std::uint64_t> hash = xxh3OfFile(path / file.name);
    if (!hash) {
        return tl::unexpected(hash.error());
    }
    return hexHash(*hash) == file.xxh3
               ? Result<void>()
               : fail(ErrorCode::DataLoss, file.name + " has the checksum " + hexHash(*hash) + ", not " + file.xxh3, path.string());
}

/// The manifest, where `check` has nothing to say against any of its files.
Result<Manifest> withSoundFiles(const fs::path& path, Result<Manifest> manifest, Result<void> (*check)(const fs::path&, const FileEntry&)) {
    if (!manifest) {
        return manifest;
    }
    for (const FileEntry& file : manifest->files) {
        if (auto sound = check(path, file); !sound) {
            return tl::unexpected(sound.error());
        }
    }
    return manifest;
}

/// The named checkpoint alone, else the attempt's own.
Result<std::vector<fs::path>> candidates(const fs::path& folder, const std::string& named, std::uint32_t attempt) {
    std::vector<fs::path> paths;
    if (named.empty()) {
        for (const CheckpointName& checkpoint : listCheckpoints(folder, attempt)) {
            paths.push_back(checkpoint.path);
        }
        return paths;
    }
    const fs::path path = fs::path(named).lexically_normal();
    paths.push_back(path.has_filename() ? path : path.parent_path());
    if (!fs::is_directory(paths.front())) {
        return fail(ErrorCode::NotFound, "there is no checkpoint folder " + paths.front().string(), "[resume] checkpoint");
    }
    return paths;
}

} // namespace

std::string checkpointName(std::uint32_t attempt, std::int64_t step) {
    char text[64];
    std::snprintf(text, sizeof text, "a%u-step-%08lld", attempt, static_cast<long long>(step));
    return text;
}

fs::path temporaryFolder(const fs::path& folder, std::uint32_t attempt, std::int64_t step) {
    return folder / (std::string(kTemporary) + checkpointName(attempt, step));
}

std::vector<CheckpointName> listCheckpoints(const fs::path& folder, std::uint32_t attempt) {
    std::vector<CheckpointName> found;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
        const auto name = parseName(entry.path());
        if (name && (attempt == 0 || name->attempt == attempt)) {
            found.push_back(*name);
        }
    }
    std::ranges::sort(found, [](const CheckpointName& a, const CheckpointName& b) {
        return std::pair(a.attempt, a.step) > std::pair(b.attempt, b.step);
    });
    return found;
}

Result<Manifest> looksWhole(const fs::path& path) {
    return withSoundFiles(path, readManifest(path), checkSize);
}

Result<Manifest> verifyCheckpoint(const fs::path& path) {
    return withSoundFiles(path, looksWhole(path), checkContent);
}

Result<fs::path> publishCheckpoint(const fs::path& folder, const fs::path& growing, const Manifest& manifest) {
    const fs::path place = folder / checkpointName(manifest.key.attempt, manifest.step);
    return writeWhole(growing / "manifest.json", manifestText(manifest))
        .and_then([&] { return syncFolder(growing); })
        .and_then([&]() -> Result<void> {
            std::error_code error;
            fs::remove_all(place, error);
            fs::rename(growing, place, error);
            return error ? Result<void>(
                               fail(ErrorCode::Internal, "cannot be renamed into place: " + error.message(), growing.string()))
                         : syncFolder(folder);
        })
        .map([&] { return place; });
}

Result<Chosen> chooseCheckpoint(const fs::path& folder, const std::string& named, std::uint32_t attempt,
                                const std::function<Result<Manifest>(const fs::path&)>& check) {
    const Result<std::vector<fs::path>> paths = candidates(folder, named, attempt);
    if (!paths) {
        return tl::unexpected(paths.error());
    }
    Chosen chosen;
    for (const fs::path& path : *paths) {
        Result<Manifest> manifest = check(path);
        if (manifest) {
            chosen.path = path;
            chosen.manifest = std::move(*manifest);
            return chosen;
        }
        chosen.damaged.push_back({path, manifest.error().message});
    }
    if (chosen.damaged.empty()) {
        return chosen;
    }
    const Damage& first = chosen.damaged.front();
    return named.empty() ? fail(ErrorCode::DataLoss,
                                "no sound checkpoint is left (" + first.path.filename().string() + ": " + first.text +
                                    "); remove the damaged ones to start from step 0",
                                first.path.parent_path().string())
                         : fail(ErrorCode::DataLoss, "is damaged (" + first.text + "); name another checkpoint", first.path.string());
}

void pruneCheckpoints(const fs::path& folder, std::uint32_t attempt, const config::CheckpointConfig& keep) {
    const std::vector<CheckpointName> all = listCheckpoints(folder, attempt);
    for (std::size_t i = static_cast<std::size_t>(keep.keepLast); i < all.size(); ++i) {
        if (keep.keepEvery == 0 || all[i].step % keep.keepEvery != 0) {
            // Renamed first: half a checkpoint must never look like a whole one.
            const fs::path doomed = temporaryFolder(folder, attempt, all[i].step);
            std::error_code error;
            fs::rename(all[i].path, doomed, error);
            fs::remove_all(error ? all[i].path : doomed, error);
        }
    }
}

std::vector<std::string> removeUnfinished(const fs::path& folder, std::uint32_t attempt) {
    std::vector<std::string> removed;
    std::error_code error;
    const std::string prefix = std::string(kTemporary) + "a" + std::to_string(attempt) + "-";
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
        if (entry.path().filename().string().starts_with(prefix)) {
            removed.push_back(entry.path().filename().string().substr(kTemporary.size()));
            std::error_code ignored; // what stays is replaced by the next save of that step
            fs::remove_all(entry.path(), ignored);
        }
    }
    return removed;
}

} // namespace telehelm::train
