// SPDX-License-Identifier: Apache-2.0
// The flat fp32 buffers of a model that lives on a device: master weights, gradients and Adam's moments. The optimizer works on
// them there; checkpoints, resharding and communicators of the host go through download and upload.
#pragma once

#include <cstdint>
#include <span>

#include "telehelm/kernels/adamw.h"
#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::model {

/// Trainer thread only. Element numbers are those of Model::parameters(). Calls on device data are ordered on one stream.
class DeviceState {
public:
    enum class Buffer : std::uint8_t { Parameters, Gradients, FirstMoment, SecondMoment };
    /// Elements [from, to) of one weight, with what AdamW does to them.
    struct Update {
        std::int64_t from = 0, to = 0;
        kernels::AdamWStep<float> step;
    };
    virtual ~DeviceState() = default;

    /// Elements that one data rank owns: parameters and gradients have room for data ranks times that (CudaOptions::dataRanks),
    /// zeros behind the model's last weight.
    [[nodiscard]] virtual std::int64_t shardSize() const = 0;
    /// Once, before the moments are used: zeroed, for elements [from, to) alone.
    virtual void makeMoments(std::int64_t from, std::int64_t to) = 0;
    virtual void clearGradients() = 0;
    /// Σ g² in double of elements [from, to), in an order that depends on the range only. Synchronizes.
    [[nodiscard]] virtual double gradientSquares(std::int64_t from, std::int64_t to) = 0;
    /// AdamW on the master weights; the bf16 weights that the kernels read follow.
    virtual void adamw(std::span<const Update> updates) = 0;

    /// Between a buffer's elements from `from` on and the host. Both synchronize; after uploading parameters the kernels read
    /// them.
    virtual void download(Buffer buffer, std::int64_t from, std::span<float> host) = 0;
    virtual void upload(Buffer buffer, std::int64_t from, std::span<const float> host) = 0;

    /// Device memory, for communicators that take it: the whole buffer, of moments what makeMoments asked for.
    [[nodiscard]] virtual float* pointer(Buffer buffer) = 0;
    /// After the parameters were written through pointer().
    virtual void refreshWeights() = 0;
    [[nodiscard]] virtual const kernels::cuda::Stream& stream() const = 0;
};

} // namespace telehelm::model
