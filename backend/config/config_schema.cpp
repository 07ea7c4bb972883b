// SPDX-License-Identifier: Apache-2.0
#include "config/config_schema.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace telehelm::config {
namespace {

constexpr double kBig = 9.2e18;

template <auto Member> Slot at(RunConfig& config) {
    return &(config.*Member);
}
template <auto Section, auto Member> Slot at(RunConfig& config) {
    return &((config.*Section).*Member);
}

using R = RunConfig;
using M = ModelConfig;
using O = OptimizerConfig;
using F = FaultsConfig;
using P = RestartPolicyConfig;

constexpr std::string_view kPhases = "data|forward|backward|reduce|optimizer|gather|checkpoint|comm_tensor|comm_data|comm_pipeline";

constexpr std::string_view kTensors = "embedding|attention.norm|attention.qkv|attention.out|ffn.norm|ffn.gate_up|ffn.down|norm|head";

constexpr auto kKeys = std::to_array<Key>({
    // table, key, field, required, low, high, choices
    {"", "name", at<&R::name>, true, 0, 0, ""},
    {"", "description", at<&R::description>, false, 0, 0, ""},
    {"", "seed", at<&R::seed>, false, 0, kBig, ""},
    {"", "device", at<&R::device>, false, 0, 0, "cpu|cuda"},
    {"", "steps", at<&R::steps>, true, 1, 1e12, ""},
    {"model", "layers", at<&R::model, &M::layers>, true, 1, 10'000, ""},
    {"model", "hidden_size", at<&R::model, &M::hiddenSize>, true, 2, 1'048'576, ""},
    {"model", "attention_heads", at<&R::model, &M::attentionHeads>, true, 1, 65'536, ""},
    {"model", "ffn_hidden_size", at<&R::model, &M::ffnHiddenSize>, true, 1, 4'194'304, ""},
    {"model", "vocab_size", at<&R::model, &M::vocabSize>, true, 2, 16'777'216, ""},
    {"model", "context_length", at<&R::model, &M::contextLength>, true, 2, 16'777'216, ""},
    {"model", "rope_theta", at<&R::model, &M::ropeTheta>, false, 1, 1e12, ""},
    {"model", "norm_epsilon", at<&R::model, &M::normEpsilon>, false, 1e-12, 1e-1, ""},
    {"model", "input_mult", at<&R::model, &M::inputMult>, false, 1e-6, 1e6, ""},
    {"model", "output_mult", at<&R::model, &M::outputMult>, false, 1e-6, 1e6, ""},
    {"model", "standard_deviation", at<&R::model, &M::standardDeviation>, false, 1e-9, 10, ""},
    {"model", "matrix_standard_deviation", at<&R::model, &M::matrixStandardDeviation>, false, 1e-9, 10, ""},
    {"optimizer", "learning_rate", at<&R::optimizer, &O::learningRate>, false, 0, 10, ""},
    {"optimizer", "matrix_learning_rate", at<&R::optimizer, &O::matrixLearningRate>, false, 0, 10, ""},
    {"optimizer", "minimum_learning_rate", at<&R::optimizer, &O::minimumLearningRate>, false, 0, 10, ""},
    {"optimizer", "beta1", at<&R::optimizer, &O::beta1>, false, 0, 0.999999, ""},
    {"optimizer", "beta2", at<&R::optimizer, &O::beta2>, false, 0, 0.999999, ""},
    {"optimizer", "epsilon", at<&R::optimizer, &O::epsilon>, false, 1e-20, 1, ""},
    {"optimizer", "weight_decay", at<&R::optimizer, &O::weightDecay>, false, 0, 10, ""},
    {"optimizer", "clip_grad", at<&R::optimizer, &O::clipGrad>, false, 0, 1e6, ""},
    {"optimizer", "lr_scale", at<&R::optimizer, &O::lrScale>, false, 1e-6, 1e3, ""},
    {"optimizer", "max_skipped_steps", at<&R::optimizer, &O::maxSkippedSteps>, false, 0, 1e9, ""},
    {"schedule", "type", at<&R::schedule, &ScheduleConfig::type>, false, 0, 0, "cosine|constant"},
    {"schedule", "tokens", at<&R::schedule, &ScheduleConfig::tokens>, false, 0, 1e18, ""},
    {"schedule", "warmup_steps", at<&R::schedule, &ScheduleConfig::warmupSteps>, false, 0, 1e12, ""},
    {"batch", "sequences", at<&R::batch, &BatchConfig::sequences>, true, 1, 1e9, ""},
    {"batch", "micro_sequences", at<&R::batch, &BatchConfig::microSequences>, false, 0, 1e9, ""},
    {"data", "corpus", at<&R::data, &DataConfig::corpus>, false, 0, 0, ""},
    {"data", "seed", at<&R::data, &DataConfig::seed>, false, 0, kBig, ""},
    {"data", "mixture", at<&R::data, &DataConfig::mixture>, true, 0, 100, ""},
    {"data", "skip_batches", at<&R::data, &DataConfig::skipBatches>, false, 0, 1e12, ""},
    {"parallel", "tensor", at<&R::parallel, &ParallelConfig::tensor>, false, 1, 65'536, ""},
    {"parallel", "pipeline", at<&R::parallel, &ParallelConfig::pipeline>, false, 1, 65'536, ""},
    {"parallel", "data", at<&R::parallel, &ParallelConfig::data>, false, 1, 65'536, ""},
    {"parallel", "sequence", at<&R::parallel, &ParallelConfig::sequence>, false, 0, 0, ""},
    {"parallel", "schedule", at<&R::parallel, &ParallelConfig::schedule>, false, 0, 0, "1f1b|interleaved"},
    {"parallel", "chunks", at<&R::parallel, &ParallelConfig::chunks>, false, 1, 1024, ""},
    {"parallel", "recompute", at<&R::parallel, &ParallelConfig::recompute>, false, 0, 0, "none|selective|full"},
    {"parallel", "bucket_bytes", at<&R::parallel, &ParallelConfig::bucketBytes>, false, 0, 1 << 28, ""},
    {"parallel", "check_replicas_every", at<&R::parallel, &ParallelConfig::checkReplicasEvery>, false, 0, 1e12, ""},
    {"parallel", "layers", at<&R::parallel, &ParallelConfig::layers>, false, 1, 10'000, ""},
    {"validation", "every_steps", at<&R::validation, &ValidationConfig::everySteps>, false, 0, 1e12, ""},
    {"validation", "sequences_per_domain", at<&R::validation, &ValidationConfig::sequencesPerDomain>, false, 1, 1e9, ""},
    {"checkpoint", "every_steps", at<&R::checkpoint, &CheckpointConfig::everySteps>, false, 0, 1e12, ""},
    {"checkpoint", "keep_last", at<&R::checkpoint, &CheckpointConfig::keepLast>, false, 1, 1e6, ""},
    {"checkpoint", "keep_every", at<&R::checkpoint, &CheckpointConfig::keepEvery>, false, 0, 1e12, ""},
    {"resume", "checkpoint", at<&R::resume, &ResumeConfig::checkpoint>, false, 0, 0, ""},
    {"resume", "take", at<&R::resume, &ResumeConfig::take>, false, 0, 0, ""},
    {"faults", "attempt", at<&R::faults, &F::attempt>, false, 0, 1e9, ""},
    {"faults", "nan_step", at<&R::faults, &F::nanStep>, false, 0, 1e12, ""},
    {"faults", "nan_steps", at<&R::faults, &F::nanSteps>, false, 1, 1e12, ""},
    {"faults", "nan_rank", at<&R::faults, &F::nanRank>, false, 0, 1e9, ""},
    {"faults", "nan_tensor", at<&R::faults, &F::nanTensor>, false, 0, 0, kTensors},
    {"faults", "nan_layer", at<&R::faults, &F::nanLayer>, false, 0, 10'000, ""},
    {"faults", "nan_direction", at<&R::faults, &F::nanDirection>, false, 0, 0, "forward|backward"},
    {"faults", "nan_micro_batch", at<&R::faults, &F::nanMicroBatch>, false, 0, 1e9, ""},
    {"faults", "drift_step", at<&R::faults, &F::driftStep>, false, 0, 1e12, ""},
    {"faults", "drift_rank", at<&R::faults, &F::driftRank>, false, 0, 1e9, ""},
    {"faults", "slow_rank", at<&R::faults, &F::slowRank>, false, 0, 1e9, ""},
    {"faults", "slow_ms", at<&R::faults, &F::slowMs>, false, 0, 1e7, ""},
    {"faults", "slow_from", at<&R::faults, &F::slowFrom>, false, 1, 1e12, ""},
    {"faults", "slow_steps", at<&R::faults, &F::slowSteps>, false, 0, 1e12, ""},
    {"faults", "die_step", at<&R::faults, &F::dieStep>, false, 0, 1e12, ""},
    {"faults", "die_rank", at<&R::faults, &F::dieRank>, false, 0, 1e9, ""},
    {"faults", "die_phase", at<&R::faults, &F::diePhase>, false, 0, 0, kPhases},
    {"faults", "die_how", at<&R::faults, &F::dieHow>, false, 0, 0, "exit|signal"},
    {"faults", "hang_step", at<&R::faults, &F::hangStep>, false, 0, 1e12, ""},
    {"faults", "hang_rank", at<&R::faults, &F::hangRank>, false, 0, 1e9, ""},
    {"faults", "hang_phase", at<&R::faults, &F::hangPhase>, false, 0, 0, kPhases},
    {"telemetry", "rank_every_steps", at<&R::telemetry, &TelemetryConfig::rankEverySteps>, false, 1, 1e9, ""},
    {"telemetry", "straggler_ratio", at<&R::telemetry, &TelemetryConfig::stragglerRatio>, false, 1.01, 1000, ""},
    {"telemetry", "straggler_hits", at<&R::telemetry, &TelemetryConfig::stragglerHits>, false, 1, 1000, ""},
    {"telemetry", "straggler_window", at<&R::telemetry, &TelemetryConfig::stragglerWindow>, false, 1, 1000, ""},
    {"restart_policy", "max_retries", at<&R::restartPolicy, &P::maxRetries>, false, 0, 1000, ""},
    {"restart_policy", "backoff_s", at<&R::restartPolicy, &P::backoffS>, false, 0, 86'400, ""},
    {"restart_policy", "reset_steps", at<&R::restartPolicy, &P::resetSteps>, false, 1, 1e12, ""},
    {"restart_policy", "hang_s", at<&R::restartPolicy, &P::hangS>, false, 0, 1e7, ""},
});

/// Near enough to be a slip of the finger: a third of the letters, at least two.
bool near(std::size_t distance, std::string_view word) {
    return distance <= std::max<std::size_t>(2, word.size() / 3);
}

} // namespace

std::span<const Key> schema() {
    return kKeys;
}

std::size_t editDistance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row[b.size()];
}

std::string nearestTable(std::string_view wrong) {
    std::string best;
    std::size_t bestDistance = SIZE_MAX;
    for (const Key& key : schema()) {
        const std::size_t distance = editDistance(wrong, key.table);
        if (!key.table.empty() && distance < bestDistance && near(distance, wrong)) {
            bestDistance = distance;
            best = key.table;
        }
    }
    return best;
}

std::string nearestKey(std::string_view table, std::string_view wrong) {
    std::string best;
    std::size_t bestDistance = SIZE_MAX;
    for (const Key& key : schema()) {
        // A key of the same table wins over an equally near one elsewhere.
        const std::size_t distance = 2 * editDistance(wrong, key.name) + (key.table == table ? 0 : 1);
        if (distance < bestDistance && near(distance / 2, wrong)) {
            bestDistance = distance;
            best = key.table == table ? std::string(key.name) : "[" + std::string(key.table) + "] " + std::string(key.name);
            if (key.table != table && key.table.empty()) {
                best = std::string(key.name) + " at the top of the file";
            }
        }
    }
    return best;
}

} // namespace telehelm::config
