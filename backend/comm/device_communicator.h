// SPDX-License-Identifier: Apache-2.0
// What a model on a device asks of the ranks that share its layers: collectives on device memory, in a stream's order.
#pragma once

#include <cstddef>

#include "comm/communicator.h"
#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::comm {

enum class DeviceType : std::uint8_t { Float, Bf16 };

/// Collective; trainer thread only. Pointers are device pointers, counts are elements. A call that fails throws std::runtime_error.
class DeviceCommunicator {
public:
    virtual ~DeviceCommunicator() = default;
    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;
    /// False: a call blocks the host (staged through MPI), so a graph cannot record it.
    [[nodiscard]] virtual bool isRecordable() const = 0;
    virtual void allReduce(void* data, std::size_t count, DeviceType type, Reduce op, const kernels::cuda::Stream& stream) = 0;
    /// `in` = size() blocks of `count`; rank r gets the sum of all ranks' block r.
    virtual void reduceScatter(const void* in, void* out, std::size_t count, DeviceType type, const kernels::cuda::Stream& stream) = 0;
    /// `in` = `count` elements; `out` = size() × count.
    virtual void allGather(const void* in, void* out, std::size_t count, DeviceType type, const kernels::cuda::Stream& stream) = 0;
    virtual void send(const void* data, std::size_t bytes, int to, const kernels::cuda::Stream& stream) = 0;
    virtual void recv(void* data, std::size_t bytes, int from, const kernels::cuda::Stream& stream) = 0;
};

} // namespace telehelm::comm
