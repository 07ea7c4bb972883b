// SPDX-License-Identifier: Apache-2.0
// The optimizer's half of a step where weights, gradients and moments live on a device: the distributed optimizer over the data
// axis, bucket by bucket. Each rank has fp32 master weights and moments of its own blocks alone, and all weights in bf16. Buckets
// are reduce-scattered beside the last backward and gathered beside the next forward, on a stream of their own that events tie to
// the model's; the host waits for none of it. It sees a block only when it is saved or loaded.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/device_communicator.h"
#include "config/run_config.h"
#include "model/device_state.h"
#include "model/model.h"
#include "optim/schedule.h"
#include "train/device_clock.h"
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

/// Trainer thread only; collective over the data axis, and over the tensor axis where norms are summed. Whatever is "there" is so for
/// what the model's stream is given afterwards.
class DeviceOptimizer {
public:
    /// `sumsNorms`: under sequence parallelism a tensor rank has only its rows' share of the norms' gradients. `countsNorms`:
    /// weights that all tensor ranks hold belong to this one's part of the global norm. `clock`: of the model's stream.
    DeviceOptimizer(model::Model& model, const DeviceAxes& axes, const config::OptimizerConfig& config, bool sumsNorms,
                    bool countsNorms, DeviceClock& clock);

    // Gradients, once a step.
    void clearGradients();
    /// Gradients of [from, to) are complete with what the model's stream was given: buckets that have no others start.
    void done(std::int64_t from, std::int64_t to);
    /// After the last backward: starts what has not, and the own blocks' gradients are there, summed over the ranks.
    void reduceGradients();
    /// Σ squares of what this rank counts of its blocks; not finite where any gradient of the blocks is: nobody may update a weight
    /// with one, whoever counts it. Waits on the host.
    [[nodiscard]] double ownSquares();

    /// AdamW on the own blocks, and of each bucket all ranks get all weights in bf16. `updates` counts from 1.
    void update(std::int64_t updates, const optim::Rates& rates, float gradScale);
    /// Weights [from, to) are there.
    void need(std::int64_t from, std::int64_t to);
    void settle() { need(0, m_buckets.back().to); }
    [[nodiscard]] bool isSettled() const { return m_gathering == 0; }

    /// Copies of the own blocks on the host, padding left out; what a checkpoint is written from, or loaded into before
    /// takeShards(). One for each bucket of which something is here.
    [[nodiscard]] std::vector<Shard> shards();
    /// The blocks go back to the device, if they were handed out since the last time, and all ranks get all weights in bf16.
    void takeShards();

private:
    struct Piece {
        Stretch at;
        bool isMatrixLike, decays, isCounted;
    };
    struct Bucket {
        std::int64_t weights = 0; // elements that belong to a weight
        std::int64_t open = 0;    // of them, not yet complete in this step; kStarted
        bool isOnItsWay = false;  // gathered, and nobody has waited for it
        kernels::cuda::Event gathered;
    };
    static constexpr std::int64_t kStarted = -1;
    [[nodiscard]] Stretch own(std::size_t bucket) const; // of weights
    void findPieces(bool countsNorms);
    void start(std::size_t bucket);
    void sumNorms(const parallel::DeviceBucket& bucket);
    void startGather(std::size_t bucket);
    void follow();
    template <typename Do> void eachCopy(const Do& act);

    // constant after construction
    model::Model& m_model;
    model::DeviceState& m_state;
    DeviceAxes m_axes;
    config::OptimizerConfig m_config;
    DeviceClock& m_clock;
    std::vector<parallel::DeviceBucket> m_buckets;
    std::vector<Stretch> m_norms; // to be summed over the tensor ranks
    std::vector<Piece> m_pieces;  // of weights in the own blocks
    std::int64_t m_end;           // of the last weight
    // trainer thread only
    kernels::cuda::Stream m_beside; // the data axis's work
    kernels::cuda::Event m_ready;
    std::vector<Bucket> m_states;
    std::size_t m_gathering = 0; // buckets on their way
    std::vector<model::DeviceState::Update> m_updates;
    std::vector<model::DeviceState::Counted> m_counted;
    std::vector<float> m_parameters, m_first, m_second; // the host's copy of the blocks, one behind the other
    bool m_handedOut = false;
};

} // namespace telehelm::train
