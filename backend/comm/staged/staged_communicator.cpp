// SPDX-License-Identifier: Apache-2.0
// Device buffers through a host communicator, piece by piece over one staging buffer. Slow and simple: it proves meshes on one
// device and is what two ranks on one device can use (NCCL refuses them).
#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comm/device_communicator.h"
#include "telehelm/kernels/cuda/bf16.h"

namespace telehelm::comm {
namespace {

using kernels::cuda::Bf16;
using kernels::cuda::PinnedBuffer;

constexpr std::size_t kWord = sizeof(float); // what the host communicator counts in

constexpr std::size_t wordsOf(std::size_t bytes) {
    return (bytes + kWord - 1) / kWord;
}

class StagedCommunicator final : public DeviceCommunicator {
public:
    StagedCommunicator(Communicator& host, std::unique_ptr<Communicator> owned, std::string axis, StagedOptions options)
        : m_owned(std::move(owned)), m_host(host), m_axis(std::move(axis)), m_options(options),
          m_ranks(static_cast<std::size_t>(host.size())),
          // A collective's piece holds one block of every rank and one more.
          m_pieceBytes(std::max(kWord, options.chunkBytes / (m_ranks + 1) / kWord * kWord)),
          m_staging(m_pieceBytes * (m_ranks + 1)), m_floats(m_staging.bytes() / sizeof(Bf16)) {
        m_outgoing.reserve(m_options.sendsInFlight);
    }
    /// Messages on their way keep their buffers until they are gone.
    ~StagedCommunicator() override {
        try {
            for (const Outgoing& message : m_outgoing) {
                settle(message);
            }
            if (m_isBusy) {
                m_left.synchronize();
            }
        } catch (const std::exception&) { // NOLINT(bugprone-empty-catch): host or device are broken; who used them last has
                                          // thrown that
        }
    }
    StagedCommunicator(const StagedCommunicator&) = delete;
    StagedCommunicator& operator=(const StagedCommunicator&) = delete;

    [[nodiscard]] int rank() const override { return m_host.rank(); }
    [[nodiscard]] int size() const override { return m_host.size(); }
    [[nodiscard]] const std::string& axis() const override { return m_axis; }
    [[nodiscard]] bool isRecordable() const override { return false; }
    [[nodiscard]] std::unique_ptr<DeviceCommunicator> split(int colour, int key, std::string axis) override {
        std::unique_ptr<Communicator> part = m_host.split(colour, key);
        Communicator& host = *part;
        return std::make_unique<StagedCommunicator>(host, std::move(part), std::move(axis), m_options);
    }

    void allReduce(void* data, std::size_t count, DeviceType type, Reduce op, const Stream& stream) override;
    void reduceScatter(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) override;
    void allGather(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) override;
    void broadcast(void* data, std::size_t bytes, int root, const Stream& stream) override;
    void send(const void* data, std::size_t bytes, int to, const Stream& stream) override;
    void recv(void* data, std::size_t bytes, int from, const Stream& stream) override;
    void exchange(std::span<const DeviceSend> sends, std::span<const DeviceRecv> recvs, const Stream& stream) override {
        for (const DeviceSend& message : sends) { // these wait for nobody as long as few enough are in flight
            send(message.data, message.bytes, message.to, stream);
        }
        for (const DeviceRecv& message : recvs) {
            recv(message.data, message.bytes, message.from, stream);
        }
    }
    void wait(const Stream& stream) override { stream.synchronize(); }
    void wait(const kernels::cuda::Event& mark) override { mark.synchronize(); }
    void abort() override { m_outgoing.clear(); } // the host's calls end by themselves or with the job

private:
    struct Outgoing {
        std::vector<int> tickets;
        PinnedBuffer buffer;
    };
    static constexpr int kTag = 0; // messages between two ranks come in order; one tag is enough

    /// The staging buffer may still be read by copies of an earlier call, on another stream.
    void enter(const Stream& stream) {
        if (m_isBusy) {
            m_left.holdUp(stream);
        }
    }
    void leave(const Stream& stream) {
        m_left.record(stream);
        m_isBusy = true;
    }
    void toHost(std::size_t at, const void* device, std::size_t bytes, const Stream& stream) {
        kernels::cuda::copyToHost(m_staging.data() + at, device, bytes, stream);
    }
    void toDevice(void* device, std::size_t at, std::size_t bytes, const Stream& stream) {
        kernels::cuda::copyToDevice(device, m_staging.data() + at, bytes, stream);
    }
    void settle(const Outgoing& message) {
        for (const int ticket : message.tickets) {
            m_host.wait(ticket);
        }
    }
    [[nodiscard]] std::span<float> words(std::size_t from, std::size_t count) const {
        return m_staging.as<float>().subspan(from, count);
    }
    void widen(std::size_t count) {
        const std::span<Bf16> from = m_staging.as<Bf16>().first(count);
        std::ranges::transform(from, m_floats.begin(), kernels::cuda::toFloat);
    }
    void narrow(std::size_t from, std::size_t count) {
        std::ranges::transform(std::span(m_floats).subspan(from, count), m_staging.as<Bf16>().begin(), kernels::cuda::toBf16);
    }
    void checkPeer(int peer, const char* call) const {
        if (peer < 0 || peer >= size()) {
            throw std::runtime_error("staged " + std::string(call) + " on axis " + m_axis + ", rank " + std::to_string(rank()) +
                                     " of " + std::to_string(size()) + ": there is no rank " + std::to_string(peer));
        }
    }

    // constant after construction
    std::unique_ptr<Communicator> m_owned;
    Communicator& m_host;
    std::string m_axis;
    StagedOptions m_options;
    std::size_t m_ranks, m_pieceBytes;
    // trainer thread only
    PinnedBuffer m_staging;
    std::vector<float> m_floats; // bf16 pieces while they are summed
    std::vector<Outgoing> m_outgoing;
    std::size_t m_nextOutgoing = 0;
    kernels::cuda::Event m_left; // the last copy from the staging buffer
    bool m_isBusy = false;
};

void StagedCommunicator::allReduce(void* data, std::size_t count, DeviceType type, Reduce op, const Stream& stream) {
    enter(stream);
    const std::size_t width = bytesOf(type);
    const std::size_t most = m_staging.bytes() / width;
    for (std::size_t from = 0; from < count; from += most) {
        const std::size_t piece = std::min(most, count - from);
        auto* device = static_cast<std::byte*>(data) + from * width;
        toHost(0, device, piece * width, stream);
        stream.synchronize();
        if (type == DeviceType::Float) {
            m_host.allReduce(words(0, piece), op);
        } else {
            widen(piece);
            m_host.allReduce(std::span(m_floats).first(piece), op);
            narrow(0, piece);
        }
        toDevice(device, 0, piece * width, stream);
    }
    leave(stream);
}

void StagedCommunicator::reduceScatter(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) {
    enter(stream);
    const std::size_t width = bytesOf(type);
    const std::size_t most = m_pieceBytes / width;
    for (std::size_t from = 0; from < count; from += most) {
        const std::size_t piece = std::min(most, count - from);
        const std::size_t all = piece * m_ranks; // behind them: the sum
        for (std::size_t block = 0; block < m_ranks; ++block) {
            toHost(block * piece * width, static_cast<const std::byte*>(in) + (block * count + from) * width, piece * width,
                   stream);
        }
        stream.synchronize();
        if (type == DeviceType::Float) {
            m_host.reduceScatter(words(0, all), words(all, piece));
        } else {
            widen(all);
            const std::span floats(m_floats);
            m_host.reduceScatter(floats.first(all), floats.subspan(all, piece));
            narrow(all, piece);
        }
        toDevice(static_cast<std::byte*>(out) + from * width, type == DeviceType::Float ? all * width : 0, piece * width, stream);
    }
    leave(stream);
}

void StagedCommunicator::allGather(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) {
    enter(stream);
    const std::size_t whole = count * bytesOf(type);
    for (std::size_t from = 0; from < whole; from += m_pieceBytes) {
        const std::size_t bytes = std::min(m_pieceBytes, whole - from);
        const std::size_t piece = wordsOf(bytes);
        toHost(0, static_cast<const std::byte*>(in) + from, bytes, stream);
        stream.synchronize();
        m_host.allGather(words(0, piece), words(piece, piece * m_ranks)); // as words: nothing is computed with them
        for (std::size_t block = 0; block < m_ranks; ++block) {
            toDevice(static_cast<std::byte*>(out) + block * whole + from, (block + 1) * piece * kWord, bytes, stream);
        }
    }
    leave(stream);
}

void StagedCommunicator::broadcast(void* data, std::size_t bytes, int root, const Stream& stream) {
    checkPeer(root, "broadcast");
    enter(stream);
    for (std::size_t from = 0; from < bytes; from += m_staging.bytes()) {
        const std::size_t piece = std::min(m_staging.bytes(), bytes - from);
        auto* device = static_cast<std::byte*>(data) + from;
        if (rank() == root) {
            toHost(0, device, piece, stream);
        }
        stream.synchronize(); // on the other ranks: the staging buffer's last reader
        m_host.broadcast({m_staging.data(), piece}, root);
        if (rank() != root) {
            toDevice(device, 0, piece, stream);
        }
    }
    leave(stream);
}

void StagedCommunicator::send(const void* data, std::size_t bytes, int to, const Stream& stream) {
    checkPeer(to, "send");
    if (m_outgoing.size() < m_options.sendsInFlight) {
        m_nextOutgoing = m_outgoing.size();
        m_outgoing.push_back({{}, PinnedBuffer(bytes)});
    } else {
        m_nextOutgoing = (m_nextOutgoing + 1) % m_outgoing.size();
    }
    Outgoing& message = m_outgoing[m_nextOutgoing];
    settle(message);
    message.tickets.clear();
    if (message.buffer.bytes() < bytes) {
        message.buffer = PinnedBuffer(bytes);
    }
    kernels::cuda::copyToHost(message.buffer.data(), data, bytes, stream);
    stream.synchronize();
    for (std::size_t from = 0; from < bytes; from += m_staging.bytes()) { // as recv() takes it
        const std::size_t piece = std::min(m_staging.bytes(), bytes - from);
        message.tickets.push_back(m_host.post({message.buffer.data() + from, piece}, to, kTag));
    }
}

void StagedCommunicator::recv(void* data, std::size_t bytes, int from, const Stream& stream) {
    checkPeer(from, "recv");
    enter(stream);
    for (std::size_t at = 0; at < bytes; at += m_staging.bytes()) {
        const std::size_t piece = std::min(m_staging.bytes(), bytes - at);
        stream.synchronize(); // the piece before this one has left the staging buffer
        m_host.recv({m_staging.data(), piece}, from, kTag);
        toDevice(static_cast<std::byte*>(data) + at, 0, piece, stream);
    }
    leave(stream);
}

} // namespace

std::unique_ptr<DeviceCommunicator> makeStagedCommunicator(Communicator& host, std::string axis, StagedOptions options) {
    return std::make_unique<StagedCommunicator>(host, nullptr, std::move(axis), options);
}

} // namespace telehelm::comm
