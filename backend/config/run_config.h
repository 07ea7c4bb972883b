// SPDX-License-Identifier: Apache-2.0
// A run's config (TOML) as values. Every key has a default except those marked "required"; an unknown key, a wrong type or a
// value out of range is refused with file, line, key and what would be right.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::config {

/// [model]: table 2 and section 3.1 of the report.
struct ModelConfig {
    std::int64_t layers = 0;         // L, required
    std::int64_t hiddenSize = 0;     // C, required
    std::int64_t attentionHeads = 0; // H, required; divides C
    std::int64_t ffnHiddenSize = 0;  // F, required
    std::int64_t vocabSize = 0;      // V, required; at least the tokenizer's
    std::int64_t contextLength = 0;  // T, required
    double ropeTheta = 10'000;
    double normEpsilon = 1e-5;
    double inputMult = 1.0;                    // on the embedding
    double outputMult = 1.0;                   // on the final hidden state, before the head
    double standardDeviation = 4e-3;           // vector-like weights (embedding, head), truncated normal
    double matrixStandardDeviation = 4.242e-3; // matrix-like weights (the layers' linears)

    /// Embedding + head + layers (4C² + 3CF + 2C each) + last norm.
    [[nodiscard]] std::int64_t parameterCount() const;
    /// Forward + backward model FLOPs per trained token, attention counted causal (half), no recomputation.
    [[nodiscard]] double flopsPerToken() const;
    bool operator==(const ModelConfig&) const = default;
};

/// [optimizer]: AdamW and table 4.
struct OptimizerConfig {
    double learningRate = 1.5e-4;
    double matrixLearningRate = 1.5e-4;
    double minimumLearningRate = 1.5e-5; // floor of both, scaled alike
    double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
    double weightDecay = 0.0;
    double clipGrad = 1.0; // global norm; 0 = off
    double lrScale = 1.0;  // what an operator multiplied both rates by
    std::int64_t maxSkippedSteps = 10; // not finite, in a row: then the run stops; 0: never
    bool operator==(const OptimizerConfig&) const = default;
};

/// [schedule]
struct ScheduleConfig {
    std::string type = "cosine"; // "cosine" | "constant"
    std::int64_t tokens = 0;     // length of the decay, 0: the whole run
    std::int64_t warmupSteps = 0;
    bool operator==(const ScheduleConfig&) const = default;
};

/// [batch]
struct BatchConfig {
    std::int64_t sequences = 0;      // a step's, over all data ranks; required
    std::int64_t microSequences = 0; // of one rank at once; 0: as many as there are
    bool operator==(const BatchConfig&) const = default;
};

/// [data]
struct DataConfig {
    std::string corpus; // folder with manifest.json; "" = the demo corpus's cache folder
    std::uint64_t seed = 1234;
    std::map<std::string, double> mixture; // percent per domain, adds up to 100; required
    std::int64_t skipBatches = 0;          // at the fork step of a restart
    bool operator==(const DataConfig&) const = default;
};

/// What a backward computes again instead of keeping it.
enum class Recompute : std::uint8_t {
    None,
    Selective, // both norms' outputs and SwiGLU's product, from what lies before them: no matrix product
    Full,      // the whole layer, from its input
};

/// Of one job: what names a rank has 16 bits for it (train/bad_step.cpp).
inline constexpr std::int64_t kMostRanks = 65'536;

/// [parallel]
struct ParallelConfig {
    std::int32_t tensor = 1, pipeline = 1, data = 1;
    bool sequence = false;            // split norms and residuals by sequence over the tensor ranks
    std::string schedule = "1f1b";    // "1f1b" | "interleaved"
    std::int32_t chunks = 1;          // parts of the layers per pipeline stage; more than 1: interleaved
    std::string recompute = "none";   // "none" | "selective" | "full"
    std::int64_t bucketBytes = 0; // of gradients and parameters that go over the data axis at once, in fp32; 0: 1 MiB, on a device 64 MiB
    std::int64_t checkReplicasEvery = 100; // steps; compares norms over the tensor ranks bit for bit, stops the run where they differ; 0: never
    std::vector<std::int64_t> layers = {}; // of each part, in the model's order (pipeline × chunks of them); empty: balanced
    /// What bucket_bytes comes to: a device's call costs some 20 µs whatever its size.
    [[nodiscard]] std::int64_t bucketBytesOn(const std::string& device) const {
        return bucketBytes > 0 ? bucketBytes : std::int64_t{device == "cuda" ? 64 : 1} << 20;
    }
    /// As written, before anybody has checked it against kMostRanks.
    [[nodiscard]] std::int64_t product() const { return std::int64_t{tensor} * pipeline * data; }
    [[nodiscard]] std::int32_t ranks() const { return static_cast<std::int32_t>(product()); } // of a checked mesh
    [[nodiscard]] Recompute recomputes() const {
        return recompute == "full" ? Recompute::Full : recompute == "selective" ? Recompute::Selective : Recompute::None;
    }
    bool operator==(const ParallelConfig&) const = default;
};

/// [validation]
struct ValidationConfig {
    std::int64_t everySteps = 100; // 0: never
    std::int64_t sequencesPerDomain = 8;
    bool operator==(const ValidationConfig&) const = default;
};

/// [checkpoint]
struct CheckpointConfig {
    std::int64_t everySteps = 200; // 0: only at the end and on command
    std::int64_t keepLast = 5;
    std::int64_t keepEvery = 0; // steps; 0: none beyond keepLast
    bool operator==(const CheckpointConfig&) const = default;
};

/// [resume]: written by the daemon for a restart, rarely by hand.
struct ResumeConfig {
    std::string checkpoint; // folder; "" = newest of this attempt's run folder, else from step 0
    /// What this config changes against the checkpoint, of "lr_scale", "seed", "skip_batches" and "mixture", separated by spaces
    /// ("none": nothing); the rest goes on as it was in the checkpoint. "" = whatever differs from the checkpoint's config.
    std::string take;
    bool operator==(const ResumeConfig&) const = default;
};

/// [faults]: deliberate failures, for tests and drills. A step of 0 (or slow_ms 0) leaves a fault out.
struct FaultsConfig {
    std::int64_t attempt = 1;                         // the attempt in which they happen; 0: in all of them
    std::int64_t nanStep = 0, nanSteps = 1;           // a tensor is NaN on nanRank for this many steps
    std::int32_t nanRank = 0;
    std::string nanTensor = "attention.qkv";          // of nanLayer, or "embedding", "norm" (the last one), "head"
    std::int64_t nanLayer = 0;
    std::string nanDirection = "forward";             // the weight; "backward": its gradient, in the backward of nanMicroBatch
    std::int64_t nanMicroBatch = 0;
    std::int64_t driftStep = 0;                       // after it the last bit of a norm's weight is another one on driftRank
    std::int32_t driftRank = 0;
    std::int32_t slowRank = 0;
    double slowMs = 0;                                // more per step
    std::int64_t slowFrom = 1, slowSteps = 0;         // 0 steps: to the end
    std::int64_t dieStep = 0;
    std::int32_t dieRank = 0;
    std::string diePhase = "forward";                 // of a step, or "comm_<axis>": config_schema.cpp lists them
    std::string dieHow = "exit";                      // "exit" | "signal"
    std::int64_t hangStep = 0;
    std::int32_t hangRank = 0;
    std::string hangPhase = "forward";
    /// "layers.3.attention.qkv", "head"
    [[nodiscard]] std::string nanName() const;
    [[nodiscard]] bool nanIsInLayer() const { return nanTensor.find('.') != std::string::npos; }
    /// Whether anything is to happen in this attempt.
    [[nodiscard]] bool inAttempt(std::uint32_t number) const {
        const bool any = nanStep > 0 || driftStep > 0 || slowMs > 0 || dieStep > 0 || hangStep > 0;
        return any && (attempt == 0 || attempt == static_cast<std::int64_t>(number));
    }
    bool operator==(const FaultsConfig&) const = default;
};

/// [telemetry]
struct TelemetryConfig {
    std::int64_t rankEverySteps = 10; // rank/<r>/… are gathered this often
    double stragglerRatio = 1.3;      // a rank's own work ÷ the median of the others'
    std::int64_t stragglerHits = 3, stragglerWindow = 5; // above it in so many of the last so many gathers
    bool operator==(const TelemetryConfig&) const = default;
};

/// [restart_policy]: what the daemon does by itself when a rank has died or hangs.
struct RestartPolicyConfig {
    std::int64_t maxRetries = 3;    // in a row; 0: off
    double backoffS = 10;           // before retry n (from 0): backoffS · 2^n
    std::int64_t resetSteps = 100;  // so many steps beyond all earlier attempts: the retries count from 0 again
    double hangS = 600;             // no progress for so long: the job hangs and is killed; 0: never
    bool operator==(const RestartPolicyConfig&) const = default;
};

struct RunConfig {
    std::string name; // required: letters, digits, '-', '_', '.'
    std::string description;
    std::uint64_t seed = 1234;  // initialisation
    std::string device = "cpu"; // "cpu" | "cuda"
    std::int64_t steps = 0;     // required: the run's length
    ModelConfig model;
    OptimizerConfig optimizer;
    ScheduleConfig schedule;
    BatchConfig batch;
    DataConfig data;
    ParallelConfig parallel;
    ValidationConfig validation;
    CheckpointConfig checkpoint;
    ResumeConfig resume;
    FaultsConfig faults;
    RestartPolicyConfig restartPolicy;
    TelemetryConfig telemetry;

    [[nodiscard]] std::int64_t tokensPerStep() const { return batch.sequences * model.contextLength; }
    /// Sequences that a data rank runs at once, and how often it does so per step.
    [[nodiscard]] std::int64_t microSequences() const {
        return batch.microSequences > 0 ? batch.microSequences : batch.sequences / parallel.data;
    }
    [[nodiscard]] std::int64_t microBatches() const { return batch.sequences / parallel.data / microSequences(); }
    bool operator==(const RunConfig&) const = default;
};

/// `path` only for messages.
[[nodiscard]] Result<RunConfig> parseRunConfig(std::string_view toml, std::string_view path);
[[nodiscard]] Result<RunConfig> loadRunConfig(const std::filesystem::path& path);

/// What a restart changes; unset members keep the text as it is.
struct ConfigOverrides {
    std::optional<std::string> resumeCheckpoint;
    std::optional<double> lrScale, clipGrad;
    std::optional<std::uint64_t> dataSeed;
    std::optional<std::int64_t> skipBatches;
    std::optional<std::map<std::string, double>> mixturePercent;
};
/// The config text with the overrides in it (comments of untouched lines stay), checked by parsing it again. With a
/// resumeCheckpoint, [resume] take names the overrides, so that a value equal to the old config's counts too.
[[nodiscard]] Result<std::string> applyOverrides(std::string_view toml, const ConfigOverrides& overrides);

/// Lines that differ, as "-old" / "+new" under their "[table]" headers; empty when equal.
[[nodiscard]] std::string configDiff(std::string_view before, std::string_view after);

/// Where the demo corpus lies: $XDG_CACHE_HOME/telehelm/corpus/demo, ~/.cache/… without it.
[[nodiscard]] std::filesystem::path demoCorpusDir();

} // namespace telehelm::config
