// SPDX-License-Identifier: Apache-2.0
// The communicator's verbs for buffers in a device's memory: NCCL (nccl/), or staged through a host communicator (staged/), so
// that several ranks can share one device. A type of its own: a device pointer must not reach MPI, and every call is ordered on a
// stream.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comm/communicator.h"
#include "telehelm/ipc/result.h"
#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::comm {

enum class DeviceType : std::uint8_t { Float, Bf16 };
[[nodiscard]] constexpr std::size_t bytesOf(DeviceType type) {
    return type == DeviceType::Float ? 4 : 2;
}

/// One side of a message in exchange(); borrowed.
struct DeviceSend {
    const void* data = nullptr;
    std::size_t bytes = 0;
    int to = 0;
};
struct DeviceRecv {
    void* data = nullptr;
    std::size_t bytes = 0;
    int from = 0;
};

/// Collective; trainer thread only. Pointers are device pointers, counts are elements. What a call reads must have been given to
/// `stream` before it; what is given to it afterwards sees the result. The host may run ahead (NCCL does, the staged adapter
/// waits): wait() before the host looks. A failure or a time-out throws std::runtime_error that names call, axis and rank.
class DeviceCommunicator {
public:
    using Stream = kernels::cuda::Stream;

    virtual ~DeviceCommunicator() = default;
    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;
    /// What its ranks share, for error texts: "tensor", "data", "pipeline", "world".
    [[nodiscard]] virtual const std::string& axis() const = 0;
    /// False: a call blocks the host (staged through MPI), so a graph cannot record it.
    [[nodiscard]] virtual bool isRecordable() const = 0;
    /// Ranks with the same colour make a new communicator, ordered by key.
    [[nodiscard]] virtual std::unique_ptr<DeviceCommunicator> split(int colour, int key, std::string axis) = 0;

    virtual void allReduce(void* data, std::size_t count, DeviceType type, Reduce op, const Stream& stream) = 0;
    /// `in` = size() blocks of `count`; rank r gets the sum of all ranks' block r. May be in place: out = block rank() of in.
    virtual void reduceScatter(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) = 0;
    /// `in` = `count` elements; `out` = size() × count. May be in place: in = block rank() of out.
    virtual void allGather(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) = 0;
    virtual void broadcast(void* data, std::size_t bytes, int root, const Stream& stream) = 0;
    /// Messages from one rank to another arrive in the order in which they were sent. NCCL may hold the stream until the receiver
    /// comes: two neighbours that first send and then receive on one stream wait for each other; exchange() does not.
    virtual void send(const void* data, std::size_t bytes, int to, const Stream& stream) = 0;
    virtual void recv(void* data, std::size_t bytes, int from, const Stream& stream) = 0;
    /// All these messages at once, in whatever order the peers come.
    virtual void exchange(std::span<const DeviceSend> sends, std::span<const DeviceRecv> recvs, const Stream& stream) = 0;
    /// Blocks the host until all that was given to `stream` is done; the place where a dead peer is noticed.
    virtual void wait(const Stream& stream) = 0;
    /// The same until a mark in a stream is reached.
    virtual void wait(const kernels::cuda::Event& mark) = 0;
    /// Ends what is on its way without the peers, so that nobody waits for them; of no use afterwards. For a rank that fails.
    virtual void abort() = 0;
};

struct StagedOptions {
    std::size_t chunkBytes = std::size_t{16} << 20; // of the staging buffer
    std::size_t sendsInFlight = 16;                 // a further send waits for the oldest one's receiver
};
/// Device buffer → host → `host` communicator → host → device, in the thread's current device. bf16 is summed in fp32 and rounded
/// once. `host` is borrowed. Throws std::runtime_error where there is no CUDA.
[[nodiscard]] std::unique_ptr<DeviceCommunicator> makeStagedCommunicator(Communicator& host, std::string axis,
                                                                         StagedOptions options = {});

struct NcclOptions {
    /// How long wait() and a communicator's start may take before it is aborted. Work given to the stream before counts too.
    std::chrono::milliseconds timeout = std::chrono::minutes(10);
};
/// What all ranks of a new NCCL communicator must hold alike; made by one of them.
using NcclId = std::array<std::byte, 128>;
[[nodiscard]] Result<NcclId> makeNcclId();
/// "2.28.9"; empty where this build has no NCCL.
[[nodiscard]] std::string ncclVersion();
/// Collective over `size` ranks with the same id; each in its thread's current device, which no two of them share.
[[nodiscard]] Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(const NcclId& id, int rank, int size,
                                                                               std::string axis, NcclOptions options = {});
/// The same over the ranks of `host` (MPI's), which carries the id. `host` is not kept.
[[nodiscard]] Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(Communicator& host, std::string axis,
                                                                               NcclOptions options = {});

} // namespace telehelm::comm
