// SPDX-License-Identifier: Apache-2.0
// The checkpoints of a run in one folder: "a<attempt>-step-<8 digits>", each whole or not there.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "telehelm/ipc/result.h"
#include "train/manifest.h"

namespace telehelm::train {

[[nodiscard]] std::string checkpointName(std::uint32_t attempt, std::int64_t step);
/// Where a checkpoint grows until it is whole: ".tmp-" + its name.
[[nodiscard]] std::filesystem::path temporaryFolder(const std::filesystem::path& folder, std::uint32_t attempt,
                                                    std::int64_t step);

struct CheckpointName {
    std::filesystem::path path;
    std::uint32_t attempt = 0;
    std::int64_t step = 0;
};
/// Newest attempt first, within it the newest step first. An attempt of 0: all attempts.
[[nodiscard]] std::vector<CheckpointName> listCheckpoints(const std::filesystem::path& folder, std::uint32_t attempt = 0);

/// Reads the manifest and compares every file's size and checksum; the error says what is wrong.
[[nodiscard]] Result<Manifest> verifyCheckpoint(const std::filesystem::path& path);
/// Only the manifest and the files' sizes: for who checks what it reads while it reads it.
[[nodiscard]] Result<Manifest> looksWhole(const std::filesystem::path& path);

/// Writes the manifest of a folder whose files are there, makes all durable and renames it into place: the checkpoint's folder.
/// Replaces a damaged one of the same step, which this attempt has trained again.
[[nodiscard]] Result<std::filesystem::path> publishCheckpoint(const std::filesystem::path& folder,
                                                              const std::filesystem::path& growing, const Manifest& manifest);

struct Damage {
    std::filesystem::path path;
    std::string text;
};
struct Chosen {
    std::filesystem::path path; // empty: start from step 0
    Manifest manifest;
    std::vector<Damage> damaged; // passed over
};
/// The checkpoint to start from: the one that the config names, else the newest of this attempt, and where `check` refuses it the
/// one before it. Refused when there are checkpoints but none is sound; a named one is never replaced by another.
[[nodiscard]] Result<Chosen> chooseCheckpoint(const std::filesystem::path& folder, const std::string& named, std::uint32_t attempt,
                                              const std::function<Result<Manifest>(const std::filesystem::path&)>& check);

/// Removes this attempt's checkpoints beyond the newest `keepLast` whose step is not a multiple of `keepEvery`.
void pruneCheckpoints(const std::filesystem::path& folder, std::uint32_t attempt, const config::CheckpointConfig& keep);
/// Removes what an earlier process of this attempt did not finish; returns the names.
[[nodiscard]] std::vector<std::string> removeUnfinished(const std::filesystem::path& folder, std::uint32_t attempt);

} // namespace telehelm::train
