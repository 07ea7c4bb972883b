// SPDX-License-Identifier: Apache-2.0
// One training step over the mesh: micro-batches through the stages, gradient reduce-scatter over the data axis, global norm, clip, AdamW on the own shard,
// parameter all-gather (the distributed optimizer).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/corpus.h"
#include "model/model.h"
#include "optim/adamw.h"
#include "parallel/mesh.h"
#include "train/pipeline_runner.h"
#include "train/step_watch.h"

namespace telehelm::train {

struct StepOutcome {
    double loss = 0;      // nats per token, mean over the whole batch
    double gradNorm = 0;  // global, before clipping
    bool skipped = false; // loss or norm not finite: no parameter was changed
    std::string blame;    // skipped: rank, stage, micro-batch, layer and tensor where it began
    std::map<std::string, std::string> blameFacts;
    double computeMs = 0; // forward and backward of this rank
};

/// What one rank owns of the optimizer's state: elements [from, to) of the flat parameter buffer, padding included.
struct Shard {
    std::int64_t from = 0, to = 0;
    std::span<float> parameters, firstMoment, secondMoment; // fp32 master weights and Adam's moments
};

/// Trainer thread only; every call is collective over the mesh. No allocation inside a step.
class StepEngine {
public:
    StepEngine(const config::RunConfig& config, model::Model& model, data::Sampler& sampler, const parallel::Mesh& mesh,
               int threads);

    StepOutcome run(std::int64_t step, const optim::Rates& rates, double clip);

    /// Hears of each turn of a step; borrowed, null: nobody listens.
    void setWatch(StepWatch* watch);

    [[nodiscard]] Shard shard();
    /// After the model's parameters were initialised: takes the own shard from them.
    void adoptParameters();
    /// After the shard was loaded from a checkpoint: gives all ranks all parameters.
    void gatherParameters();

    /// Each token's loss, on all ranks of the pipeline and tensor axes.
    void evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats) {
        m_runner.evaluate(inputs, targets, nats);
    }
    /// Whether weights that all tensor ranks hold (the norms) are the same on them, bit for bit. Collective over the tensor axis.
    [[nodiscard]] bool replicasAgree();

    /// Updates made so far: Adam's bias correction counts them, a skipped step is none.
    [[nodiscard]] std::int64_t updates() const { return m_updates; }
    void setUpdates(std::int64_t updates) { m_updates = updates; }

private:
    void enter(Phase phase) {
        if (m_watch != nullptr) {
            m_watch->enter(phase);
        }
    }
    double forwardAndBackward(std::int64_t step);
    void sumNormGradients();
    std::span<const float> reduceGradients();
    void findOrigin(std::int64_t step, StepOutcome& outcome);
    [[nodiscard]] double ownSquares(std::span<const float> gradients) const;
    [[nodiscard]] std::span<float> fullParameters();

    // constant after construction
    model::Model& m_model;
    data::Sampler& m_sampler;
    const parallel::Mesh& m_mesh;
    comm::Communicator& m_ranks; // of the data axis
    std::int64_t m_layers;
    std::int64_t m_sequences, m_own, m_micro, m_contextLength;
    std::int64_t m_shardSize;
    int m_threads;
    // trainer thread only
    PipelineRunner m_runner;
    optim::AdamW m_optimizer;
    StepWatch* m_watch = nullptr;
    std::int64_t m_updates = 0;
    std::vector<float> m_paddedParameters, m_paddedGradients; // where the shards do not fill the model's buffer exactly
    std::vector<float> m_gradientShard;
    bool m_sumsNorms;                                // sequence parallel: each tensor rank saw only its rows
    std::vector<float> m_norms;                      // the replicated weights, or their gradients, behind each other
    std::vector<std::int32_t> m_inputs, m_targets; // all micro-batches of a step
};

} // namespace telehelm::train
