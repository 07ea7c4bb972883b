// SPDX-License-Identifier: Apache-2.0
// Device buffers through a host communicator, piece by piece over one staging buffer. Slow and simple: it proves meshes on one
// device and is what two ranks on one device can use (NCCL refuses them).
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comm/bfloat16.h"
#include "comm/device_communicator.h"

namespace telehelm::comm {
namespace {

constexpr std::size_t kWord = sizeof(float); // what the host communicator counts in

constexpr std::size_t padded(std::size_t bytes) {
    return (bytes + kWord - 1) / kWord * kWord;
}

/// Page-locked host memory.
class HostBuffer {
public:
    HostBuffer(std::shared_ptr<DeviceMemory> memory, std::size_t bytes)
        : m_memory(std::move(memory)), m_data(m_memory->allocateHost(bytes)), m_size(bytes) {}
    ~HostBuffer() {
        if (m_data != nullptr) {
            m_memory->freeHost(m_data);
        }
    }
    HostBuffer(const HostBuffer&) = delete;
    HostBuffer& operator=(const HostBuffer&) = delete;
    HostBuffer(HostBuffer&& other) noexcept
        : m_memory(std::move(other.m_memory)), m_data(std::exchange(other.m_data, nullptr)),
          m_size(std::exchange(other.m_size, 0)) {}
    HostBuffer& operator=(HostBuffer&& other) noexcept {
        std::swap(m_memory, other.m_memory);
        std::swap(m_data, other.m_data);
        std::swap(m_size, other.m_size);
        return *this;
    }
    [[nodiscard]] std::byte* data() const { return m_data; }
    [[nodiscard]] std::size_t size() const { return m_size; }

private:
    std::shared_ptr<DeviceMemory> m_memory;
    std::byte* m_data;
    std::size_t m_size;
};

class StagedCommunicator final : public DeviceCommunicator {
public:
    StagedCommunicator(Communicator& host, std::unique_ptr<Communicator> owned, std::shared_ptr<DeviceMemory> memory,
                       std::string axis, StagedOptions options)
        : m_owned(std::move(owned)), m_host(host), m_memory(std::move(memory)), m_axis(std::move(axis)), m_options(options),
          m_ranks(static_cast<std::size_t>(host.size())),
          // A collective's piece holds its own block and one block of every rank.
          m_pieceBytes(std::max(kWord, options.chunkBytes / (m_ranks + 1) / kWord * kWord)),
          m_staging(m_memory, m_pieceBytes * (m_ranks + 1)), m_floats(m_pieceBytes / sizeof(std::uint16_t) * (m_ranks + 1)) {
        m_outgoing.reserve(m_options.sendsInFlight);
    }
    /// Messages on their way keep their buffers until they are gone.
    ~StagedCommunicator() override {
        try {
            for (const Outgoing& message : m_outgoing) {
                settle(message);
            }
            drain();
        } catch (const std::exception&) { // NOLINT(bugprone-empty-catch): device or host are broken; who used them last has
                                          // thrown that
        }
    }
    StagedCommunicator(const StagedCommunicator&) = delete;
    StagedCommunicator& operator=(const StagedCommunicator&) = delete;

    [[nodiscard]] int rank() const override { return m_host.rank(); }
    [[nodiscard]] int size() const override { return m_host.size(); }
    [[nodiscard]] const std::string& axis() const override { return m_axis; }
    [[nodiscard]] std::unique_ptr<DeviceCommunicator> split(int colour, int key, std::string axis) override {
        std::unique_ptr<Communicator> part = m_host.split(colour, key);
        Communicator& host = *part;
        return std::make_unique<StagedCommunicator>(host, std::move(part), m_memory, std::move(axis), m_options);
    }

    void allReduce(DeviceSpan data, Reduce op, DeviceStream stream) override;
    void reduceScatter(ConstDeviceSpan in, DeviceSpan out, DeviceStream stream) override;
    void allGather(ConstDeviceSpan in, DeviceSpan out, DeviceStream stream) override;
    void broadcast(DeviceSpan data, int root, DeviceStream stream) override;
    void send(ConstDeviceSpan data, int to, DeviceStream stream) override;
    void recv(DeviceSpan data, int from, DeviceStream stream) override;
    void exchange(std::span<const DeviceSend> sends, std::span<const DeviceRecv> recvs, DeviceStream stream) override {
        for (const DeviceSend& message : sends) { // these wait for nobody as long as few enough are in flight
            send(message.data, message.to, stream);
        }
        for (const DeviceRecv& message : recvs) {
            recv(message.data, message.from, stream);
        }
    }
    void wait(DeviceStream stream) override {
        m_memory->synchronise(stream);
        if (stream == m_lastStream) {
            m_pendingToDevice = false;
        }
    }

private:
    struct Outgoing {
        std::vector<int> tickets;
        HostBuffer buffer;
    };
    static constexpr int kTag = 0; // messages between two ranks come in order; one tag is enough

    /// The staging buffer may still be read by copies of an earlier call on another stream.
    void enter(DeviceStream stream) {
        if (stream != m_lastStream) {
            drain();
        }
        m_lastStream = stream;
    }
    void drain() {
        if (std::exchange(m_pendingToDevice, false)) {
            m_memory->synchronise(m_lastStream);
        }
    }
    void toHost(std::size_t at, const void* device, std::size_t bytes, DeviceStream stream) {
        m_memory->toHost(m_staging.data() + at, device, bytes, stream);
    }
    void toDevice(void* device, std::size_t at, std::size_t bytes, DeviceStream stream) {
        m_memory->toDevice(device, m_staging.data() + at, bytes, stream);
        m_pendingToDevice = true;
    }
    void settle(const Outgoing& message) {
        for (const int ticket : message.tickets) {
            m_host.wait(ticket);
        }
    }
    [[nodiscard]] std::span<float> staged(std::size_t count) const { return {reinterpret_cast<float*>(m_staging.data()), count}; }
    void widen(std::size_t count) {
        const auto* from = reinterpret_cast<const std::uint16_t*>(m_staging.data());
        std::transform(from, from + count, m_floats.begin(), fromBfloat16);
    }
    void narrow(std::size_t at, std::size_t count) {
        std::transform(m_floats.begin() + static_cast<std::ptrdiff_t>(at),
                       m_floats.begin() + static_cast<std::ptrdiff_t>(at + count),
                       reinterpret_cast<std::uint16_t*>(m_staging.data()), toBfloat16);
    }
    [[noreturn]] void refuse(const char* call, const std::string& why) const {
        throw std::runtime_error(std::string("staged ") + call + " on axis " + m_axis + ", rank " + std::to_string(rank()) +
                                 " of " + std::to_string(size()) + ": " + why);
    }
    void check(bool holds, const char* call, const char* why) const {
        if (!holds) {
            refuse(call, why);
        }
    }

    // constant after construction
    std::unique_ptr<Communicator> m_owned;
    Communicator& m_host;
    std::shared_ptr<DeviceMemory> m_memory;
    std::string m_axis;
    StagedOptions m_options;
    std::size_t m_ranks, m_pieceBytes;
    // trainer thread only
    HostBuffer m_staging;
    std::vector<float> m_floats; // bf16 pieces while they are summed
    std::vector<Outgoing> m_outgoing;
    std::size_t m_nextOutgoing = 0;
    DeviceStream m_lastStream = nullptr;
    bool m_pendingToDevice = false;
};

void StagedCommunicator::allReduce(DeviceSpan data, Reduce op, DeviceStream stream) {
    check(data.element != Element::Byte, "allReduce", "bytes have no sum; give fp32 or bf16");
    enter(stream);
    const std::size_t width = bytesOf(data.element);
    const std::size_t most = m_staging.size() / width;
    for (std::size_t from = 0; from < data.count; from += most) {
        const std::size_t count = std::min(most, data.count - from);
        auto* device = static_cast<std::byte*>(data.data) + from * width;
        toHost(0, device, count * width, stream);
        m_memory->synchronise(stream);
        if (data.element == Element::F32) {
            m_host.allReduce(staged(count), op);
        } else {
            widen(count);
            m_host.allReduce(std::span(m_floats).first(count), op);
            narrow(0, count);
        }
        toDevice(device, 0, count * width, stream);
    }
}

void StagedCommunicator::reduceScatter(ConstDeviceSpan in, DeviceSpan out, DeviceStream stream) {
    check(in.element == out.element && in.element != Element::Byte, "reduceScatter", "in and out must both be fp32 or both bf16");
    check(in.count == out.count * m_ranks, "reduceScatter", "in must be size() blocks of out's length");
    enter(stream);
    const std::size_t width = bytesOf(in.element);
    const std::size_t most = m_pieceBytes / width;
    for (std::size_t from = 0; from < out.count; from += most) {
        const std::size_t count = std::min(most, out.count - from);
        for (std::size_t block = 0; block < m_ranks; ++block) {
            toHost(block * count * width, static_cast<const std::byte*>(in.data) + (block * out.count + from) * width,
                   count * width, stream);
        }
        m_memory->synchronise(stream);
        const std::size_t all = count * m_ranks; // behind them: the sum
        if (in.element == Element::F32) {
            m_host.reduceScatter(staged(all), staged(all + count).last(count));
            toDevice(static_cast<std::byte*>(out.data) + from * width, all * width, count * width, stream);
        } else {
            widen(all);
            const std::span floats(m_floats);
            m_host.reduceScatter(floats.first(all), floats.subspan(all, count));
            narrow(all, count);
            toDevice(static_cast<std::byte*>(out.data) + from * width, 0, count * width, stream);
        }
    }
}

void StagedCommunicator::allGather(ConstDeviceSpan in, DeviceSpan out, DeviceStream stream) {
    check(in.element == out.element, "allGather", "in and out must hold the same kind of elements");
    check(out.count == in.count * m_ranks, "allGather", "out must be size() blocks of in's length");
    enter(stream);
    for (std::size_t from = 0; from < in.bytes(); from += m_pieceBytes) {
        const std::size_t bytes = std::min(m_pieceBytes, in.bytes() - from);
        const std::size_t words = padded(bytes) / kWord;
        toHost(0, static_cast<const std::byte*>(in.data) + from, bytes, stream);
        m_memory->synchronise(stream);
        const std::span<float> all = staged(words * (m_ranks + 1));
        m_host.allGather(all.first(words), all.subspan(words)); // as words: nothing is computed with them
        for (std::size_t block = 0; block < m_ranks; ++block) {
            toDevice(static_cast<std::byte*>(out.data) + block * in.bytes() + from, (block + 1) * words * kWord, bytes, stream);
        }
    }
}

void StagedCommunicator::broadcast(DeviceSpan data, int root, DeviceStream stream) {
    check(root >= 0 && root < size(), "broadcast", "there is no such root");
    enter(stream);
    for (std::size_t from = 0; from < data.bytes(); from += m_staging.size()) {
        const std::size_t bytes = std::min(m_staging.size(), data.bytes() - from);
        auto* device = static_cast<std::byte*>(data.data) + from;
        if (rank() == root) {
            toHost(0, device, bytes, stream);
        }
        m_memory->synchronise(stream); // on the other ranks: the staging buffer's last reader
        m_host.broadcast({m_staging.data(), bytes}, root);
        if (rank() != root) {
            toDevice(device, 0, bytes, stream);
        }
    }
}

void StagedCommunicator::send(ConstDeviceSpan data, int to, DeviceStream stream) {
    check(to >= 0 && to < size(), "send", "there is no such rank");
    if (m_outgoing.size() < m_options.sendsInFlight) {
        m_nextOutgoing = m_outgoing.size();
        m_outgoing.push_back({{}, HostBuffer(m_memory, data.bytes())});
    } else {
        m_nextOutgoing = (m_nextOutgoing + 1) % m_outgoing.size();
    }
    Outgoing& message = m_outgoing[m_nextOutgoing];
    settle(message);
    message.tickets.clear();
    if (message.buffer.size() < data.bytes()) {
        message.buffer = HostBuffer(m_memory, data.bytes());
    }
    m_memory->toHost(message.buffer.data(), data.data, data.bytes(), stream);
    m_memory->synchronise(stream);
    for (std::size_t from = 0; from < data.bytes(); from += m_staging.size()) { // as recv() takes it
        const std::size_t bytes = std::min(m_staging.size(), data.bytes() - from);
        message.tickets.push_back(m_host.post({message.buffer.data() + from, bytes}, to, kTag));
    }
}

void StagedCommunicator::recv(DeviceSpan data, int from, DeviceStream stream) {
    check(from >= 0 && from < size(), "recv", "there is no such rank");
    enter(stream);
    for (std::size_t at = 0; at < data.bytes(); at += m_staging.size()) {
        const std::size_t bytes = std::min(m_staging.size(), data.bytes() - at);
        m_memory->synchronise(stream); // the piece before this one has left the staging buffer
        m_host.recv({m_staging.data(), bytes}, from, kTag);
        toDevice(static_cast<std::byte*>(data.data) + at, 0, bytes, stream);
    }
}

} // namespace

std::unique_ptr<DeviceCommunicator> makeStagedCommunicator(Communicator& host, std::shared_ptr<DeviceMemory> memory,
                                                           std::string axis, StagedOptions options) {
    return std::make_unique<StagedCommunicator>(host, nullptr, std::move(memory), std::move(axis), options);
}

} // namespace telehelm::comm
