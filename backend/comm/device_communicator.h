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

namespace telehelm::comm {

enum class Element : std::uint8_t { F32, BF16, Byte };
[[nodiscard]] constexpr std::size_t bytesOf(Element element) {
    return element == Element::F32 ? 4 : element == Element::BF16 ? 2 : 1;
}
[[nodiscard]] constexpr const char* nameOf(Element element) {
    return element == Element::F32 ? "fp32" : element == Element::BF16 ? "bf16" : "byte";
}

/// `count` elements in the device's memory; borrowed.
template <typename Void> struct BasicDeviceSpan {
    Void* data = nullptr;
    std::size_t count = 0;
    Element element = Element::F32;
    [[nodiscard]] std::size_t bytes() const { return count * bytesOf(element); }
};
using DeviceSpan = BasicDeviceSpan<void>;
using ConstDeviceSpan = BasicDeviceSpan<const void>;

/// A cudaStream_t, without its header; null: the default stream.
using DeviceStream = void*;

/// One side of a message in exchange().
struct DeviceSend {
    ConstDeviceSpan data;
    int to = 0;
};
struct DeviceRecv {
    DeviceSpan data;
    int from = 0;
};

/// Trainer thread only. Every rank of a communicator makes the same calls in the same order. What a call reads must have been
/// enqueued on `stream` before it; what is enqueued there after it sees the result. The host may run ahead (NCCL does, the staged
/// adapter waits): wait() before the host looks. A failure or a time-out throws std::runtime_error that names call, axis and
/// rank.
class DeviceCommunicator {
public:
    virtual ~DeviceCommunicator() = default;
    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;
    /// What its ranks share, for error texts: "tensor", "data", "pipeline", "world".
    [[nodiscard]] virtual const std::string& axis() const = 0;
    /// Ranks with the same colour make a new communicator, ordered by key.
    [[nodiscard]] virtual std::unique_ptr<DeviceCommunicator> split(int colour, int key, std::string axis) = 0;

    virtual void allReduce(DeviceSpan data, Reduce op, DeviceStream stream) = 0;
    /// `in` = size() equal blocks; rank r gets the sum of all ranks' block r. May be in place: out = block rank() of in.
    virtual void reduceScatter(ConstDeviceSpan in, DeviceSpan out, DeviceStream stream) = 0;
    /// May be in place: in = block rank() of out.
    virtual void allGather(ConstDeviceSpan in, DeviceSpan out, DeviceStream stream) = 0;
    virtual void broadcast(DeviceSpan data, int root, DeviceStream stream) = 0;
    /// Messages from one rank to another arrive in the order in which they were sent. NCCL may hold the stream until the receiver
    /// comes: two neighbours that first send and then receive on one stream wait for each other; exchange() does not.
    virtual void send(ConstDeviceSpan data, int to, DeviceStream stream) = 0;
    virtual void recv(DeviceSpan data, int from, DeviceStream stream) = 0;
    /// All these messages at once, in whatever order the peers come.
    virtual void exchange(std::span<const DeviceSend> sends, std::span<const DeviceRecv> recvs, DeviceStream stream) = 0;
    /// Blocks the host until all that was enqueued on `stream` is done; the place where a dead peer is noticed.
    virtual void wait(DeviceStream stream) = 0;
};

/// A device's memory and streams, and how bytes pass between it and the host: CUDA's below, a test's of its own. Copies are
/// ordered on their stream and return before they are done.
class DeviceMemory {
public:
    virtual ~DeviceMemory() = default;
    [[nodiscard]] virtual void* allocateDevice(std::size_t bytes) = 0;
    virtual void freeDevice(void* memory) = 0;
    [[nodiscard]] virtual std::byte* allocateHost(std::size_t bytes) = 0; // page-locked where that is faster
    virtual void freeHost(std::byte* memory) = 0;
    [[nodiscard]] virtual DeviceStream makeStream() = 0;
    virtual void freeStream(DeviceStream stream) = 0;
    virtual void toHost(std::byte* host, const void* device, std::size_t bytes, DeviceStream stream) = 0;
    virtual void toDevice(void* device, const std::byte* host, std::size_t bytes, DeviceStream stream) = 0;
    virtual void synchronise(DeviceStream stream) = 0;
};
/// On the device that is current in the calling thread. Fails where this build has no CUDA, or the machine no device.
[[nodiscard]] Result<std::shared_ptr<DeviceMemory>> makeCudaMemory();

struct StagedOptions {
    std::size_t chunkBytes = std::size_t{16} << 20; // of the staging buffer
    std::size_t sendsInFlight = 16;                 // a further send waits for the oldest one's receiver
};
/// Device buffer → host → `host` communicator → host → device. bf16 is summed in fp32 and rounded once. `host` is borrowed.
[[nodiscard]] std::unique_ptr<DeviceCommunicator> makeStagedCommunicator(Communicator& host, std::shared_ptr<DeviceMemory> memory,
                                                                         std::string axis, StagedOptions options = {});

struct NcclOptions {
    /// How long wait() and a communicator's start may take before it is aborted. Work queued before a collective counts too.
    std::chrono::milliseconds timeout = std::chrono::minutes(10);
};
/// What all ranks of a new NCCL communicator must hold alike; made by one of them.
using NcclId = std::array<std::byte, 128>;
[[nodiscard]] Result<NcclId> makeNcclId();
/// "2.28.9"; empty where this build has no NCCL.
[[nodiscard]] std::string ncclVersion();
/// Collective over `size` ranks with the same id; each on the device that is current in its calling thread.
[[nodiscard]] Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(const NcclId& id, int rank, int size,
                                                                               std::string axis, NcclOptions options = {});
/// The same over the ranks of `host` (MPI's), which carries the id. `host` is not kept.
[[nodiscard]] Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(Communicator& host, std::string axis,
                                                                               NcclOptions options = {});

} // namespace telehelm::comm
