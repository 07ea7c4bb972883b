// SPDX-License-Identifier: Apache-2.0
// Rules that bind several keys of a config together.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <sstream>
#include <tuple>

#include "config/config_schema.h"

namespace telehelm::config {
namespace {

using Check = Result<void>;

std::string is(std::string_view key, std::int64_t value) {
    return std::string(key) + " (" + std::to_string(value) + ")";
}

tl::unexpected<Error> refuse(const KeyPlaces& places, std::string_view table, std::string_view key, const std::string& text) {
    const std::string label = table.empty() ? std::string(key) : "[" + std::string(table) + "] " + std::string(key);
    return fail(ErrorCode::InvalidArgument, label + ": " + text, places.place(table, key));
}

Check checkName(const RunConfig& config, const KeyPlaces& places) {
    const auto allowed = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
    };
    if (config.name.empty() || config.name.front() == '.' || !std::all_of(config.name.begin(), config.name.end(), allowed)) {
        return refuse(places, "", "name",
                      "\"" + config.name + "\" is not a run's name; use letters, digits, '-', '_' and '.', not a '.' first");
    }
    return {};
}

Check checkModel(const ModelConfig& model, const KeyPlaces& places) {
    if (model.hiddenSize % model.attentionHeads != 0) {
        return refuse(places, "model", "attention_heads",
                      std::to_string(model.attentionHeads) + " heads do not divide " + is("hidden_size", model.hiddenSize));
    }
    if ((model.hiddenSize / model.attentionHeads) % 2 != 0) {
        return refuse(
            places, "model", "attention_heads",
            "the head size, hidden_size / attention_heads = " + std::to_string(model.hiddenSize / model.attentionHeads) +
                ", must be even: rotary embeddings turn pairs");
    }
    return {};
}

Check checkRates(const RunConfig& config, const KeyPlaces& places) {
    const OptimizerConfig& rates = config.optimizer;
    if (rates.minimumLearningRate > rates.learningRate || rates.minimumLearningRate > rates.matrixLearningRate) {
        return refuse(places, "optimizer", "minimum_learning_rate", "must not be above learning_rate or matrix_learning_rate");
    }
    const std::int64_t decay = config.schedule.tokens;
    if (decay > 0 && config.schedule.warmupSteps * config.tokensPerStep() >= decay) {
        return refuse(places, "schedule", "warmup_steps",
                      std::to_string(config.schedule.warmupSteps) + " steps of " + std::to_string(config.tokensPerStep()) +
                          " tokens are longer than the whole schedule; " + is("tokens", decay) + " must be more");
    }
    return {};
}

Check checkParallel(const RunConfig& config, const KeyPlaces& places) {
    const ParallelConfig& mesh = config.parallel;
    const ModelConfig& model = config.model;
    if (mesh.product() > kMostRanks) {
        return refuse(places, "parallel", mesh.data > 1 ? "data" : "pipeline",
                      is("tensor", mesh.tensor) + " × " + is("data", mesh.data) + " × " + is("pipeline", mesh.pipeline) + " makes " +
                          std::to_string(mesh.product()) + " ranks; a job has at most " + std::to_string(kMostRanks));
    }
    struct Division {
        std::string_view axis;
        std::int64_t ranks;
        std::string_view what;
        std::int64_t value;
    };
    const Division divisions[] = {
        {"tensor", mesh.tensor, "[model] attention_heads", model.attentionHeads},
        {"tensor", mesh.tensor, "[model] ffn_hidden_size", model.ffnHiddenSize},
        {"tensor", mesh.tensor, "[model] vocab_size", model.vocabSize},
        {"data", mesh.data, "[batch] sequences", config.batch.sequences},
    };
    for (const Division& division : divisions) {
        if (division.value % division.ranks != 0) {
            return refuse(places, "parallel", division.axis,
                          std::to_string(division.ranks) + " does not divide " + is(division.what, division.value));
        }
    }
    if (mesh.sequence && model.contextLength % mesh.tensor != 0) {
        return refuse(places, "parallel", "sequence",
                      "tensor = " + std::to_string(mesh.tensor) + " does not divide " +
                          is("[model] context_length", model.contextLength));
    }
    const std::int64_t own = config.batch.sequences / mesh.data;
    if (config.batch.microSequences > 0 && own % config.batch.microSequences != 0) {
        return refuse(places, "batch", "micro_sequences",
                      std::to_string(config.batch.microSequences) + " does not divide the " + std::to_string(own) +
                          " sequences of one data rank (sequences / [parallel] data)");
    }
    return {};
}

Check checkPipeline(const RunConfig& config, const KeyPlaces& places) {
    const ParallelConfig& mesh = config.parallel;
    const std::int64_t layers = config.model.layers;
    const std::int64_t parts = std::int64_t{mesh.pipeline} * mesh.chunks;
    const std::string made = is("pipeline", mesh.pipeline) + (mesh.chunks == 1 ? "" : " × " + is("chunks", mesh.chunks)) +
                             " makes " + std::to_string(parts) + (parts == 1 ? " part" : " parts");
    if (mesh.schedule == "1f1b" && mesh.chunks != 1) {
        return refuse(places, "parallel", "chunks", std::to_string(mesh.chunks) + " need schedule = \"interleaved\"; 1f1b has 1");
    }
    if (mesh.schedule == "interleaved" && mesh.chunks == 1) {
        return refuse(places, "parallel", "schedule", "interleaved needs chunks = 2 or more; 1f1b is the schedule with 1");
    }
    if (mesh.schedule == "interleaved" && config.microBatches() % mesh.pipeline != 0) {
        return refuse(places, "parallel", "schedule",
                      "interleaved: " + is("pipeline", mesh.pipeline) + " does not divide the " +
                          std::to_string(config.microBatches()) +
                          " micro-batches of a step ([batch] sequences / [parallel] data / [batch] micro_sequences)");
    }
    if (parts > layers) {
        return refuse(places, "parallel", mesh.chunks == 1 ? "pipeline" : "chunks",
                      made + ", more than " + is("[model] layers", layers) + "; each needs a layer");
    }
    if (mesh.layers.empty()) {
        return {};
    }
    if (static_cast<std::int64_t>(mesh.layers.size()) != parts) {
        return refuse(places, "parallel", "layers", "names " + std::to_string(mesh.layers.size()) + " parts; " + made);
    }
    if (const std::int64_t sum = std::accumulate(mesh.layers.begin(), mesh.layers.end(), std::int64_t{0}); sum != layers) {
        return refuse(places, "parallel", "layers",
                      "adds up to " + std::to_string(sum) + ", not to " + is("[model] layers", layers));
    }
    return {};
}

Check checkMixture(const DataConfig& data, const KeyPlaces& places) {
    if (data.mixture.empty()) {
        return refuse(places, "data", "mixture", "has no domain; write one line per domain, as in WebText = 60.0");
    }
    double sum = 0;
    for (const auto& [domain, percent] : data.mixture) {
        if (domain.empty() || domain.find_first_of("/ \t\"") != std::string::npos) {
            return refuse(places, "data", "mixture", "\"" + domain + "\" is not a domain's name; use no space, quote or slash");
        }
        sum += percent;
    }
    if (std::abs(sum - 100.0) > 0.01 + 1e-9) {
        char text[96];
        std::snprintf(text, sizeof text, "the shares add up to %.4g %%, not to 100 (off by %+.4g)", sum, sum - 100.0);
        return refuse(places, "data", "mixture", text);
    }
    return {};
}

Check checkResume(const ResumeConfig& resume, const KeyPlaces& places) {
    std::istringstream words(resume.take);
    for (std::string word; words >> word;) {
        if (word != "lr_scale" && word != "seed" && word != "skip_batches" && word != "mixture" && word != "none") {
            return refuse(places, "resume", "take", "\"" + word + "\" is not one of lr_scale seed skip_batches mixture none");
        }
    }
    return {};
}

/// A fault on a rank or layer that is not there would never happen, and its test would prove nothing.
Check checkFaults(const RunConfig& config, const KeyPlaces& places) {
    if (config.telemetry.stragglerHits > config.telemetry.stragglerWindow) {
        return refuse(places, "telemetry", "straggler_hits",
                      std::to_string(config.telemetry.stragglerHits) + " of " + is("straggler_window", config.telemetry.stragglerWindow) +
                          " gathers can never be; make it at most the window");
    }
    const FaultsConfig& faults = config.faults;
    struct Place {
        bool on;
        std::string_view key;
        std::int64_t value, end;
        std::string what;
    };
    const std::int64_t ranks = config.parallel.ranks();
    const std::string mesh = "the mesh's " + std::to_string(ranks) + " ranks";
    const Place named[] = {
        {faults.nanStep > 0, "nan_rank", faults.nanRank, ranks, mesh},
        {faults.nanStep > 0 && faults.nanIsInLayer(), "nan_layer", faults.nanLayer, config.model.layers,
         "[model] " + is("layers", config.model.layers)},
        {faults.nanStep > 0, "nan_micro_batch", faults.nanMicroBatch, config.microBatches(),
         "the " + std::to_string(config.microBatches()) + " micro-batches of a step"},
        {faults.driftStep > 0, "drift_rank", faults.driftRank, ranks, mesh},
        {faults.slowMs > 0, "slow_rank", faults.slowRank, ranks, mesh},
        {faults.dieStep > 0, "die_rank", faults.dieRank, ranks, mesh},
        {faults.hangStep > 0, "hang_rank", faults.hangRank, ranks, mesh},
    };
    for (const Place& place : named) {
        if (place.on && place.value >= place.end) {
            return refuse(places, "faults", place.key,
                          std::to_string(place.value) + " is not among " + place.what + ", which count from 0");
        }
    }
    const bool isBackward = faults.nanDirection == "backward";
    if (faults.nanStep > 0 && !isBackward && faults.nanMicroBatch > 0) {
        return refuse(places, "faults", "nan_micro_batch", "a weight is NaN in all micro-batches; only nan_direction = \"backward\" has one of its own");
    }
    if (faults.driftStep > 0 && config.parallel.tensor == 1) {
        return refuse(places, "faults", "drift_step", "[parallel] tensor is 1: no weight has a replica to differ from");
    }
    const auto neverCalls = [&](const std::string& phase) {
        return (phase == "comm_tensor" && config.parallel.tensor == 1) || (phase == "comm_data" && config.parallel.data == 1) ||
               (phase == "comm_pipeline" && config.parallel.pipeline == 1);
    };
    for (const auto& [on, key, phase] : {std::tuple{faults.dieStep > 0, "die_phase", faults.diePhase},
                                         std::tuple{faults.hangStep > 0, "hang_phase", faults.hangPhase}}) {
        if (on && neverCalls(phase)) {
            return refuse(places, "faults", key, phase + " never comes: [parallel] " + phase.substr(5) + " is 1, nobody talks on that axis");
        }
    }
    return {};
}

} // namespace

Check checkTogether(const RunConfig& config, const KeyPlaces& places) {
    if (auto check = checkName(config, places); !check) {
        return check;
    }
    if (auto check = checkModel(config.model, places); !check) {
        return check;
    }
    if (auto check = checkRates(config, places); !check) {
        return check;
    }
    if (auto check = checkParallel(config, places); !check) {
        return check;
    }
    if (auto check = checkPipeline(config, places); !check) {
        return check;
    }
    if (auto check = checkResume(config.resume, places); !check) {
        return check;
    }
    if (auto check = checkFaults(config, places); !check) {
        return check;
    }
    return checkMixture(config.data, places);
}

} // namespace telehelm::config
