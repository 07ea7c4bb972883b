// SPDX-License-Identifier: Apache-2.0
// The optimizer's half of a step where weights, gradients and moments live on a device: the distributed optimizer over the data
// axis with one block a rank. Each rank has fp32 master weights and moments of its own block alone, and all weights in bf16. The
// host sees a block only when it is saved or loaded.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/device_communicator.h"
#include "config/run_config.h"
#include "model/device_state.h"
#include "model/model.h"
#include "optim/schedule.h"
#include "train/stored_tensor.h"

namespace telehelm::train {

struct Shard;

struct DeviceLinks;

/// Communicators of a mesh's axes for device buffers; null where the axis has one rank. Borrowed.
struct DeviceAxes {
    comm::DeviceCommunicator* tensor = nullptr;
    comm::DeviceCommunicator* data = nullptr;
    DeviceLinks* pipeline = nullptr; // without ends where there is one stage
};

/// Trainer thread only; collective over the data axis, and over the tensor axis where norms are summed.
class DeviceOptimizer {
public:
    /// `sumsNorms`: under sequence parallelism a tensor rank has only its rows' share of the norms' gradients. `countsNorms`:
    /// weights that all tensor ranks hold belong to this one's part of the global norm.
    DeviceOptimizer(model::Model& model, const DeviceAxes& axes, const config::OptimizerConfig& config, bool sumsNorms,
                    bool countsNorms);

    void clearGradients() { m_state.clearGradients(); }
    /// After the last backward: the own block's gradients, summed over the ranks.
    void reduceGradients();
    /// Σ squares of what this rank counts of its block; not finite where any gradient of the block is: nobody may update a weight
    /// with one, whoever counts it.
    [[nodiscard]] double ownSquares();
    /// AdamW on the own block, then all ranks get all weights in bf16. `updates` counts from 1.
    void update(std::int64_t updates, const optim::Rates& rates, float gradScale);

    /// A copy of the own block on the host, padding included; what a checkpoint is written from, or loaded into before
    /// takeShard().
    [[nodiscard]] Shard shard();
    /// The block goes back to the device, if it was handed out since the last time, and all ranks get all weights in bf16.
    void takeShard();

private:
    struct Piece {
        Stretch at;
        bool isMatrixLike, decays, isCounted;
    };
    void gatherWeights();

    // constant after construction
    model::DeviceState& m_state;
    DeviceAxes m_axes;
    config::OptimizerConfig m_config;
    std::vector<Stretch> m_norms; // to be summed over the tensor ranks
    std::vector<Piece> m_pieces;  // of weights in the own block
    std::int64_t m_from, m_to;
    bool m_countsAll;
    // trainer thread only
    std::vector<model::DeviceState::Update> m_updates;
    std::vector<float> m_parameters, m_first, m_second; // the host's copy of the block
    bool m_handedOut = false;
};

} // namespace telehelm::train
