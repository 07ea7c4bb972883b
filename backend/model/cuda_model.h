// SPDX-License-Identifier: Apache-2.0
// The engine on one CUDA device: bf16 weights and activations, fp32 master weights, gradients and statistics. The same model,
// layout, parallel parts and checkpoints as the CPU's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/device_communicator.h"
#include "model/model.h"

namespace telehelm::model {

struct CudaOptions {
    int device = 0;
    std::string attention = {}; // a kind of kernels::cuda::attentionKinds(); empty: the fastest by measurement
    bool graphs = true;         // record the micro-batch once and launch it as a whole, where nothing in it must ask the host
    comm::DeviceCommunicator* tensor = nullptr;                                 // where parallel.tensor > 1; outlives the engine
    comm::DeviceCommunicator* peers = nullptr; // of ranks whose messages the model's stream may wait for: the host waits for the
                                               // stream through it, so that a dead one is noticed; tensor ranks' own comes first
    int dataRanks = 1, dataRank = 0; // that share the optimizer's state; whose blocks of it are here
    std::int64_t bucketBytes = std::int64_t{1} << 28; // of fp32 that data ranks exchange at once (parallel/device_shards.h)
    std::function<void(const std::string&)> onNote = [](const std::string&) {}; // a line for the log
};

/// Throws std::invalid_argument for a shape that the device's kernels do not take (checkCudaShape), std::runtime_error where CUDA
/// fails.
[[nodiscard]] std::unique_ptr<Model> makeCudaModel(const config::ModelConfig& shape, std::int64_t microBatch,
                                                   const Placement& placement = {}, const CudaOptions& options = {});

/// What the CUDA engine asks beyond checkShape: heads of 64 or 128; hidden_size, and ffn_hidden_size and vocab_size of each
/// tensor rank, multiples of 8. Throws std::invalid_argument that names the key and what would be right.
void checkCudaShape(const config::ModelConfig& shape, int tensorRanks);

} // namespace telehelm::model
