// SPDX-License-Identifier: Apache-2.0
// A stage's share of a step: runs its schedule's actions and passes activations and gradients to its neighbours.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "config/run_config.h"
#include "model/model.h"
#include "parallel/mesh.h"
#include "parallel/schedule.h"
#include "train/stage_link.h"

namespace telehelm::train {

/// Trainer thread only; collective over the tensor and the pipeline axis. No allocation inside a step.
class PipelineRunner {
public:
    /// `links`, `clock`: of a model on a device. Throws std::invalid_argument where the config has no schedule.
    PipelineRunner(const config::RunConfig& config, model::Model& model, const parallel::Mesh& mesh, DeviceLinks* links = nullptr,
                   DeviceClock* clock = nullptr);

    /// How the model of this rank is to be made.
    [[nodiscard]] static model::Placement placement(const config::RunConfig& config, const parallel::Mesh& mesh);

    /// Forward and backward of all micro-batches of a step, (micro-batch, sequence, T) each. Adds to the gradients. Returns Σ nats
    /// on ranks of the last stage, 0 on the others and where a device keeps them (DeviceState::keepNats). `onTurn`: hears before each action; `isLast`: it ends with the step's
    /// last backward of its chunk.
    double run(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, float gradScale,
               const std::function<void(const parallel::Action&, bool isLast)>& onTurn);
    /// Every rank gets each token's loss.
    void evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats);

    /// Of gradients on their way.
    [[nodiscard]] std::size_t bytes() const { return m_link != nullptr ? m_link->bytes() : 0; }

private:
    struct Turn {
        parallel::Action action;
        int slot;
        bool isLast = false; // the last backward of its chunk
    };
    void planBuffers(const config::RunConfig& config, DeviceLinks* links, DeviceClock* clock);
    static std::vector<Turn> turnsOf(const config::RunConfig& config, int stage, std::vector<int>& slots);
    [[nodiscard]] std::size_t place(int chunk, std::int64_t microBatch) const {
        return static_cast<std::size_t>(chunk * m_microBatches + microBatch);
    }
    void receiveInput(const parallel::Action& action, int slot);
    void receiveGradient(const parallel::Action& action);
    int postOutput(const parallel::Action& action, int slot);
    void postGradient(const parallel::Action& action);
    void settle(int& ticket);
    void forward(const Turn& turn, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets);
    double backward(const Turn& turn, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, float gradScale);

    // constant after construction
    model::Model& m_model;
    comm::Communicator& m_stages;
    int m_stage, m_count, m_chunks;
    std::int64_t m_microBatches;
    std::size_t m_microTokens;
    std::vector<Turn> m_turns;
    std::vector<std::size_t> m_buffers; // by (chunk, micro-batch): where its gradient leaves from; the ring's, in turn
    // trainer thread only
    std::vector<int> m_slots;      // by (chunk, micro-batch): where its activations lie
    std::vector<int> m_forwards;   // tickets by (chunk, micro-batch)
    std::vector<int> m_backwards;  // tickets by outgoing buffer
    std::unique_ptr<StageLink> m_link; // null: the model is in one part
};

} // namespace telehelm::train
