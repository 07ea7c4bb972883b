// SPDX-License-Identifier: Apache-2.0
// manifest.json of a checkpoint folder (byte format: backend/train/README.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"
#include "train/optimizer_marks.h"
#include "train/shard_map.h"

namespace telehelm::train {

/// A stretch of a part of a tensor in a file. Each piece of `pieceBytes` (the last may be shorter) has its own checksum, so that
/// a reader can trust what it reads without reading the rest.
struct TensorShard {
    std::string file;
    TensorSplit split;       // of which part of the global tensor
    std::int64_t begin = 0;  // first element of the part, row-major
    std::int64_t offset = 0; // bytes in the file
    std::int64_t bytes = 0;
    std::int64_t pieceBytes = 0;
    std::vector<std::uint64_t> xxh3; // by piece
};

struct TensorEntry {
    std::string name;                // a weight's; its moments are "adam.m/<weight>" and "adam.v/<weight>"
    std::vector<std::int64_t> shape; // of the global tensor, whatever the mesh
    std::vector<TensorShard> shards;
};

struct FileEntry {
    std::string name;
    std::int64_t bytes = 0;
    std::string xxh3;
};

/// A mixture by the domains' names, so that it outlives a corpus' order.
struct NamedMixtureChange {
    std::int64_t step = 0;
    std::map<std::string, double> shares;
    std::uint64_t seed = 0;
    std::int64_t skipBatches = 0;
};

/// What the config said when the checkpoint was written: tells a restart's changes from what commands changed.
struct ConfigMarks {
    double lrScale = 1;
    std::uint64_t dataSeed = 0;
    std::int64_t skipBatches = 0;
    std::map<std::string, double> mixture; // percent
    OptimizerMarks optimizer;
    /// What the config says anew at each start, as "[model] rope_theta" → 10000; empty in checkpoints that are older than this.
    std::map<std::string, double> settings = {};
};

struct Manifest {
    ipc::AttemptKey key;
    std::int64_t step = 0, tokens = 0, savedUs = 0, bytes = 0;
    double trainLoss = 0, gradNorm = 0;
    std::int32_t tensor = 1, pipeline = 1, data = 1;
    std::int64_t updates = 0, skippedSteps = 0;
    double lrScale = 1;
    ConfigMarks config;
    std::string configXxh3;
    std::string attention; // the device's kernel, on which the bits depend; empty: none was chosen
    std::vector<NamedMixtureChange> mixtureHistory;
    std::vector<TensorEntry> tensors;
    std::vector<FileEntry> files;
};

[[nodiscard]] std::string manifestText(const Manifest& manifest);
/// DataLoss when it is missing, cut off or of another format.
[[nodiscard]] Result<Manifest> readManifest(const std::filesystem::path& folder);

/// What one rank wrote, for the rank that puts the manifest together: "rank-00001.done".
struct RankPart {
    std::vector<FileEntry> files;
    std::vector<TensorEntry> tensors;
};
[[nodiscard]] std::string rankPartText(const RankPart& part);
[[nodiscard]] Result<RankPart> parseRankPart(const std::string& text);
/// Adds a rank's shards to the tensors of the same name.
void mergePart(Manifest& manifest, const RankPart& part);

} // namespace telehelm::train
