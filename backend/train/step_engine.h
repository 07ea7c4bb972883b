// SPDX-License-Identifier: Apache-2.0
// One training step over the mesh: micro-batches through the stages, gradients reduce-scattered over the data axis in buckets while the
// last backward goes on, global norm, clip, AdamW on the own shard, parameters all-gathered in buckets while the next forward begins.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/run_config.h"
#include "data/corpus.h"
#include "model/model.h"
#include "optim/adamw.h"
#include "parallel/mesh.h"
#include "train/buckets.h"
#include "train/device_clock.h"
#include "train/device_optimizer.h"
#include "train/pipeline_runner.h"
#include "train/step_watch.h"

namespace telehelm::train {

class OriginFinder;

struct StepOutcome {
    double loss = 0;      // nats per token, mean over the whole batch
    double gradNorm = 0;  // global, before clipping
    bool skipped = false; // loss or norm not finite: no parameter was changed
    std::string blame;    // skipped: rank, stage, micro-batch, layer and tensor where it began
    std::map<std::string, std::string> blameFacts;
};

/// A stretch of what one rank owns of the optimizer's state: elements [from, to) of the flat parameter buffer, padding included.
struct Shard {
    std::int64_t from = 0, to = 0;
    std::span<float> parameters, firstMoment, secondMoment; // fp32 master weights and Adam's moments
};

/// Bytes that are allocated on this rank, once and for all steps.
struct EngineMemory {
    std::size_t parameters = 0, gradients = 0, optimizer = 0;
    std::size_t activations = 0; // the model's arena: what a backward needs, and the work's own buffers
    std::size_t messages = 0;    // reduced gradients, padded ends, gradients on their way to a neighbour
    std::size_t checkpoint = 0;  // the writer's copy, which the trainer adds; none where all else is a device's
    [[nodiscard]] std::size_t total() const { return parameters + gradients + optimizer + activations + messages + checkpoint; }
};

/// Trainer thread only; every call is collective over the mesh. No allocation inside a step.
class StepEngine {
public:
    /// `axes`: of a model on a device.
    StepEngine(const config::RunConfig& config, model::Model& model, data::Sampler& sampler, const parallel::Mesh& mesh,
               int threads, const DeviceAxes& axes = {});
    ~StepEngine();
    StepEngine(const StepEngine&) = delete;
    StepEngine& operator=(const StepEngine&) = delete;

    /// Afterwards parameters are still on their way to this rank; who reads them but through evaluate() or run() calls settle().
    StepOutcome run(std::int64_t step, const optim::Rates& rates, double clip);
    /// Returns when all parameters are there; on a device they are so for what its stream is given afterwards.
    void settle() {
        if (m_buckets != nullptr) {
            m_buckets->settle();
        } else {
            m_device->settle();
        }
    }

    /// Hears of each turn of a step; borrowed, null: nobody listens.
    void setWatch(StepWatch* watch);

    /// Comes with each micro-batch before its first backward on this rank, in a bad step's second run too.
    void onBackward(std::function<void(std::int64_t microBatch)> turn) { m_onBackward = std::move(turn); }

    /// The own blocks, ascending; never on their way.
    [[nodiscard]] std::vector<Shard> shards();
    /// After the model's parameters were initialised: takes the own shards from them.
    void adoptParameters() {
        if (m_buckets != nullptr) {
            m_buckets->adoptParameters();
        }
    }
    /// After the shards were loaded from a checkpoint: gives all ranks all parameters.
    void gatherParameters();
    [[nodiscard]] EngineMemory memory();

    /// Each token's loss, on all ranks of the pipeline and tensor axes.
    void evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats);
    /// Whether weights that all tensor ranks hold (the norms) are the same on them, bit for bit; else which and where. Collective
    /// over the tensor axis.
    [[nodiscard]] bool replicasAgree() { return replicaFault().empty(); }
    [[nodiscard]] std::string replicaFault();

    /// Updates made so far: Adam's bias correction counts them, a skipped step is none.
    [[nodiscard]] std::int64_t updates() const { return m_updates; }
    void setUpdates(std::int64_t updates) { m_updates = updates; }

private:
    void enter(Phase phase) {
        if (m_clock) {
            m_clock->enter(phase);
        }
        if (m_watch != nullptr) {
            m_watch->enter(phase);
        }
    }
    void progress() {
        if (m_buckets != nullptr) {
            m_buckets->progress();
        }
    }
    [[nodiscard]] std::uint64_t hashOf(const model::ParameterInfo& weight);
    void listen();
    void listenToDevice();
    double forwardAndBackward(std::int64_t step, bool reduces);
    void update(const optim::Rates& rates, double factor);
    void findOrigin(std::int64_t step, StepOutcome& outcome);
    double reducedSquares();
    void account();
    [[nodiscard]] double ownSquares(std::size_t bucket) const;

    // constant after construction
    model::Model& m_model;
    data::Sampler& m_sampler;
    const parallel::Mesh& m_mesh;
    comm::Communicator& m_ranks; // of the data axis
    std::int64_t m_layers;
    int m_lastChunk;
    bool m_trainsWhole; // a forward has its backward in it
    std::int64_t m_sequences, m_own, m_contextLength;
    int m_threads;
    bool m_tellsWeights = false; // the model says when it needs them and when their gradients are complete
    // trainer thread only
    std::optional<DeviceClock> m_clock; // where the model is on a device
    PipelineRunner m_runner;
    std::unique_ptr<Buckets> m_buckets;
    std::vector<optim::AdamW> m_optimizers;    // by bucket
    std::unique_ptr<DeviceOptimizer> m_device; // in their place where the model is on a device
    StepWatch* m_watch = nullptr;
    std::function<void(std::int64_t)> m_onBackward;
    OriginFinder* m_finder = nullptr; // while a bad step is run again
    std::int64_t m_updates = 0;
    bool m_completes = false; // the backward that runs is the last one of its weights in this step
    std::vector<std::int32_t> m_inputs, m_targets; // all micro-batches of a step
};

} // namespace telehelm::train
