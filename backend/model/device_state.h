// SPDX-License-Identifier: Apache-2.0
// The flat buffers of a model that lives on a device: bf16 weights and fp32 gradients of all its elements, and of one data rank's
// blocks fp32 master weights and Adam's moments. The optimizer works on them there; checkpoints and resharding go through download
// and upload.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "parallel/device_shards.h"
#include "telehelm/kernels/adamw.h"
#include "telehelm/kernels/cuda/bf16.h"
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
    struct Counted {
        std::int64_t from = 0, to = 0;
        bool counts = true;
    };
    virtual ~DeviceState() = default;

    /// The flat buffers from end to end, cut for the data ranks (CudaOptions::dataRanks, bucketBytes); zeros behind the last weight.
    [[nodiscard]] virtual std::span<const parallel::DeviceBucket> buckets() const = 0;
    /// The own block of a bucket, elements [from, to) (CudaOptions::dataRank); all of them together are the own shard.
    [[nodiscard]] virtual std::int64_t ownFrom(std::size_t bucket) const = 0;
    [[nodiscard]] virtual std::int64_t ownTo(std::size_t bucket) const = 0;
    /// Whether Model::trainMicroBatch and backwardPart leave their Σ nats on the device and return 0 at once, so that the host can run
    /// ahead; else they return it, and wait for it. At first: no.
    virtual void keepNats(bool keeps) = 0;
    /// What was kept since the last call, micro-batch after micro-batch. Synchronizes.
    [[nodiscard]] virtual double takeNats() = 0;
    /// Once, before the own shard's moments are used: zeroed.
    virtual void makeMoments() = 0;
    virtual void clearGradients() = 0;
    /// Σ g² in double of elements [from, to), in an order that depends on the range only. Synchronizes.
    [[nodiscard]] virtual double gradientSquares(std::int64_t from, std::int64_t to) = 0;
    /// The same over many stretches at once, in an order that depends on them only; where one that does not count holds what is not
    /// finite, NaN. One wait for all. A device's lists are made anew where the stretches are others than in the last call.
    [[nodiscard]] virtual double countedSquares(std::span<const Counted> stretches) = 0;
    /// AdamW on master weights of the own shard, bucket by bucket; the bf16 weights that the kernels read follow. Updates ascend, and
    /// each lies within one block. `given` hears of each bucket when the stream was given all of its updates.
    virtual void adamw(std::span<const Update> updates, const std::function<void(std::size_t bucket)>& given = {}) = 0;

    /// Between a buffer's elements from `from` on and the host. Both synchronize; after uploading parameters the kernels read
    /// them. Parameters are the master weights in the own shard and what the kernels read elsewhere; of moments a stretch must lie
    /// within one block of the own shard.
    virtual void download(Buffer buffer, std::int64_t from, std::span<float> host) = 0;
    virtual void upload(Buffer buffer, std::int64_t from, std::span<const float> host) = 0;

    /// Device memory, for communicators that take it: all buckets.
    [[nodiscard]] virtual float* gradientData() = 0;
    [[nodiscard]] virtual kernels::cuda::Bf16* weightData() = 0;
    /// After weights were written through weightData().
    virtual void weightsMoved() = 0;
    // What passes between the parts of a pipeline, in bf16: Model::boundarySize() elements each, ordered on stream(). A model on a
    // device has no Model::partInput() and the like.
    /// The residual stream before and after a chunk; the first part fills its input itself.
    [[nodiscard]] virtual kernels::cuda::Bf16* partInputData(int chunk, int slot) = 0;
    [[nodiscard]] virtual const kernels::cuda::Bf16* partOutputData(int chunk, int slot) = 0;
    /// Before Model::backwardPart: the gradient of the chunk's output (the last part makes its own); after it: of its input.
    [[nodiscard]] virtual kernels::cuda::Bf16* boundaryGradientData() = 0;

    /// Bytes that are allocated for the flat buffers.
    [[nodiscard]] virtual std::size_t weightBytes() const = 0;
    [[nodiscard]] virtual std::size_t gradientBytes() const = 0;
    [[nodiscard]] virtual std::size_t shardBytes() const = 0;
    [[nodiscard]] virtual const kernels::cuda::Stream& stream() const = 0;
};

} // namespace telehelm::model
