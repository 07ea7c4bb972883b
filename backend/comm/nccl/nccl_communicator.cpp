// SPDX-License-Identifier: Apache-2.0
// NCCL without blocking calls: whatever it does in the background is polled for and given up after a time-out, so that a dead
// peer ends in an error that names the call, and not in a rank that hangs for ever.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <utility>

#include <nccl.h>

#include "comm/device_communicator.h"
#include "comm/nccl/cuda_check.h"
#include "comm/nccl/op_trail.h"

namespace telehelm::comm {
namespace {

using Clock = std::chrono::steady_clock;

static_assert(sizeof(ncclUniqueId) == sizeof(NcclId));

constexpr auto kGoodbye = std::chrono::seconds(5); // for peers to end together; then each ends alone

constexpr const char* kBytes = "bytes";

ncclDataType_t typeOf(DeviceType type) {
    return type == DeviceType::Float ? ncclFloat32 : ncclBfloat16;
}

const char* nameOf(DeviceType type) {
    return type == DeviceType::Float ? "fp32" : "bf16";
}

ncclRedOp_t opOf(Reduce op) {
    return op == Reduce::Sum ? ncclSum : op == Reduce::Max ? ncclMax : ncclMin;
}

ncclConfig_t notBlocking() {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    return config;
}

/// Short waits spin, long ones leave the core to others.
class Backoff {
public:
    void pause() {
        if (++m_turns < 1000) {
            std::this_thread::yield();
        } else {
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
    }

private:
    int m_turns = 0;
};

class NcclCommunicator final : public DeviceCommunicator {
public:
    NcclCommunicator(int rank, int size, std::string axis, NcclOptions options)
        : m_rank(rank), m_size(size), m_axis(std::move(axis)), m_options(options) {}
    ~NcclCommunicator() override { close(); }
    NcclCommunicator(const NcclCommunicator&) = delete;
    NcclCommunicator& operator=(const NcclCommunicator&) = delete;

    /// Waits until all ranks have come.
    void start(const NcclId& id) {
        ncclUniqueId unique;
        std::copy(id.begin(), id.end(), reinterpret_cast<std::byte*>(&unique));
        ncclConfig_t config = notBlocking();
        settle(ncclCommInitRankConfig(&m_comm, m_size, unique, m_rank, &config), "ncclCommInitRankConfig");
    }

    [[nodiscard]] int rank() const override { return m_rank; }
    [[nodiscard]] int size() const override { return m_size; }
    [[nodiscard]] const std::string& axis() const override { return m_axis; }
    [[nodiscard]] bool isRecordable() const override { return true; }
    [[nodiscard]] std::unique_ptr<DeviceCommunicator> split(int colour, int key, std::string axis) override;

    void allReduce(void* data, std::size_t count, DeviceType type, Reduce op, const Stream& stream) override {
        run("allReduce", count, nameOf(type), stream,
            [&](cudaStream_t on) { return ncclAllReduce(data, data, count, typeOf(type), opOf(op), m_comm, on); });
    }
    void reduceScatter(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) override {
        run("reduceScatter", count * static_cast<std::size_t>(m_size), nameOf(type), stream,
            [&](cudaStream_t on) { return ncclReduceScatter(in, out, count, typeOf(type), ncclSum, m_comm, on); });
    }
    void allGather(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) override {
        run("allGather", count * static_cast<std::size_t>(m_size), nameOf(type), stream,
            [&](cudaStream_t on) { return ncclAllGather(in, out, count, typeOf(type), m_comm, on); });
    }
    void broadcast(void* data, std::size_t bytes, int root, const Stream& stream) override {
        checkPeer(root, "broadcast");
        run("broadcast", bytes, kBytes, stream,
            [&](cudaStream_t on) { return ncclBroadcast(data, data, bytes, ncclUint8, root, m_comm, on); });
    }
    void send(const void* data, std::size_t bytes, int to, const Stream& stream) override {
        checkPeer(to, "send");
        run("send", bytes, kBytes, stream, [&](cudaStream_t on) { return ncclSend(data, bytes, ncclUint8, to, m_comm, on); });
    }
    void recv(void* data, std::size_t bytes, int from, const Stream& stream) override {
        checkPeer(from, "recv");
        run("recv", bytes, kBytes, stream, [&](cudaStream_t on) { return ncclRecv(data, bytes, ncclUint8, from, m_comm, on); });
    }
    void exchange(std::span<const DeviceSend> sends, std::span<const DeviceRecv> recvs, const Stream& stream) override;
    void wait(const Stream& stream) override {
        waitFor([on = static_cast<cudaStream_t>(stream.native())] { return isReady(cudaStreamQuery(on), "cudaStreamQuery"); });
    }
    void wait(const kernels::cuda::Event& mark) override {
        waitFor([event = static_cast<cudaEvent_t>(mark.native())] { return isReady(cudaEventQuery(event), "cudaEventQuery"); });
    }

    void abort() override;

private:
    template <typename IsDone> void waitFor(const IsDone& isDone);
    template <typename Enqueue>
    void run(const char* call, std::size_t count, const char* unit, const Stream& stream, const Enqueue& enqueue) {
        checkOpen(call);
        const auto on = static_cast<cudaStream_t>(stream.native());
        settle(enqueue(on), call);
        m_trail.add(call, count, unit, on);
    }
    void settle(ncclResult_t status, const char* call);
    void settleIn(ncclComm_t comm, ncclResult_t status, const char* call, Clock::time_point deadline);
    void close();
    [[nodiscard]] std::string where() const {
        return " on axis " + m_axis + ", rank " + std::to_string(m_rank) + " of " + std::to_string(m_size) + ": ";
    }
    [[noreturn]] void giveUp(const std::string& call, const std::string& why) {
        abort();
        throw std::runtime_error("NCCL " + call + where() + why + "; the communicator was aborted");
    }
    void check(bool holds, const char* call, const char* why) const {
        if (!holds) {
            throw std::runtime_error("NCCL " + std::string(call) + where() + why);
        }
    }
    void checkPeer(int peer, const char* call) const { check(peer >= 0 && peer < m_size, call, "there is no such rank"); }
    void checkOpen(const char* call) const { check(m_comm != nullptr, call, "the communicator was aborted before"); }
    [[nodiscard]] std::string seconds() const {
        std::array<char, 32> text{};
        std::snprintf(text.data(), text.size(), "%g s", static_cast<double>(m_options.timeout.count()) / 1000.0);
        return text.data();
    }

    // constant after construction
    int m_rank, m_size;
    std::string m_axis;
    NcclOptions m_options;
    // trainer thread only
    ncclComm_t m_comm = nullptr;
    OpTrail m_trail;
};

void NcclCommunicator::settle(ncclResult_t status, const char* call) {
    settleIn(m_comm, status, call, Clock::now() + m_options.timeout);
}

/// Until the call has been enqueued: a call on a communicator that does not block may still be at work in the background.
void NcclCommunicator::settleIn(ncclComm_t comm, ncclResult_t status, const char* call, Clock::time_point deadline) {
    for (Backoff backoff; status == ncclInProgress; backoff.pause()) {
        if (comm == nullptr) {
            giveUp(call, "NCCL says that it is in progress, but there is no communicator");
        }
        if (const ncclResult_t asked = ncclCommGetAsyncError(comm, &status); asked != ncclSuccess) {
            status = asked;
        }
        if (status == ncclInProgress && Clock::now() > deadline) {
            giveUp(call, "not begun by all ranks after " + seconds() + " (is a peer dead, or elsewhere?)");
        }
    }
    if (status != ncclSuccess) {
        const char* last = ncclGetLastError(comm);
        giveUp(call,
               std::string(ncclGetErrorString(status)) + (last != nullptr && *last != '\0' ? std::string(", ") + last : ""));
    }
}

std::unique_ptr<DeviceCommunicator> NcclCommunicator::split(int colour, int key, std::string axis) {
    checkOpen("split");
    ncclConfig_t config = notBlocking();
    auto made = std::make_unique<NcclCommunicator>(0, 0, std::move(axis), m_options);
    const auto deadline = Clock::now() + m_options.timeout;
    settleIn(m_comm, ncclCommSplit(m_comm, colour, key, &made->m_comm, &config), "ncclCommSplit", deadline);
    // NCCL may write the new handle from its own thread, a moment after the parent is ready.
    for (Backoff backoff; std::atomic_ref(made->m_comm).load() == nullptr; backoff.pause()) {
        settleIn(m_comm, ncclInProgress, "ncclCommSplit", deadline);
        if (Clock::now() > deadline) {
            giveUp("ncclCommSplit", "no part was made after " + seconds());
        }
    }
    made->settleIn(made->m_comm, ncclInProgress, "ncclCommSplit", deadline);
    made->settle(ncclCommUserRank(made->m_comm, &made->m_rank), "ncclCommUserRank");
    made->settle(ncclCommCount(made->m_comm, &made->m_size), "ncclCommCount");
    return made;
}

void NcclCommunicator::exchange(std::span<const DeviceSend> sends, std::span<const DeviceRecv> recvs, const Stream& stream) {
    std::size_t bytes = 0;
    for (const DeviceSend& message : sends) {
        checkPeer(message.to, "exchange");
        bytes += message.bytes;
    }
    for (const DeviceRecv& message : recvs) {
        checkPeer(message.from, "exchange");
        bytes += message.bytes;
    }
    run("exchange", bytes, kBytes, stream, [&](cudaStream_t on) {
        ncclResult_t status = ncclGroupStart();
        const auto enqueue = [&](ncclResult_t result) {
            status = status == ncclSuccess || status == ncclInProgress ? result : status;
        };
        for (const DeviceSend& message : sends) {
            enqueue(ncclSend(message.data, message.bytes, ncclUint8, message.to, m_comm, on));
        }
        for (const DeviceRecv& message : recvs) {
            enqueue(ncclRecv(message.data, message.bytes, ncclUint8, message.from, m_comm, on));
        }
        const ncclResult_t ended = ncclGroupEnd();
        return status == ncclSuccess || status == ncclInProgress ? ended : status;
    });
}

template <typename IsDone> void NcclCommunicator::waitFor(const IsDone& isDone) {
    checkOpen("wait");
    const auto deadline = Clock::now() + m_options.timeout;
    for (Backoff backoff;; backoff.pause()) {
        if (isDone()) {
            return;
        }
        ncclResult_t status = ncclSuccess;
        if (const ncclResult_t asked = ncclCommGetAsyncError(m_comm, &status); asked != ncclSuccess) {
            status = asked;
        }
        if (status != ncclSuccess && status != ncclInProgress) {
            const std::string op = m_trail.oldestUnfinished();
            giveUp(op.empty() ? "wait" : op, ncclGetErrorString(status));
        }
        if (Clock::now() > deadline) {
            const std::string op = m_trail.oldestUnfinished();
            giveUp(op.empty() ? "wait" : op,
                   op.empty() ? "the stream has not finished after " + seconds() +
                                    ", though none of this communicator's calls is pending"
                              : "not finished after " + seconds() + " (is a peer dead, or did it make other calls?)");
        }
    }
}

void NcclCommunicator::abort() {
    if (m_comm != nullptr) {
        ncclCommAbort(m_comm); // waits for what NCCL does in the background, which may write m_comm once more
        m_comm = nullptr;
    }
}

/// All ranks together where they come; a rank whose peers are gone does not wait for them.
void NcclCommunicator::close() {
    if (m_comm == nullptr) {
        return;
    }
    const auto deadline = Clock::now() + kGoodbye;
    ncclResult_t status = ncclCommFinalize(m_comm);
    for (Backoff backoff; status == ncclInProgress && Clock::now() < deadline; backoff.pause()) {
        if (ncclCommGetAsyncError(m_comm, &status) != ncclSuccess) {
            break;
        }
    }
    if (status == ncclSuccess) {
        ncclCommDestroy(m_comm);
        m_comm = nullptr;
    } else {
        abort();
    }
}

Result<void> knownNccl() {
    int version = 0;
    if (ncclGetVersion(&version) != ncclSuccess || version < NCCL_VERSION(2, 18, 1)) { // the first with ncclCommSplit
        return fail(ErrorCode::FailedPrecondition, "libnccl is older than 2.18.1 (" + ncclVersion() + "): install a newer one");
    }
    return {};
}

} // namespace

std::string ncclVersion() {
    int version = 0;
    if (ncclGetVersion(&version) != ncclSuccess) {
        return {};
    }
    return std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) + "." + std::to_string(version % 100);
}

Result<NcclId> makeNcclId() {
    ncclUniqueId unique;
    if (const ncclResult_t status = ncclGetUniqueId(&unique); status != ncclSuccess) {
        const char* last = ncclGetLastError(nullptr);
        return fail(ErrorCode::Unavailable,
                    std::string("ncclGetUniqueId: ") + ncclGetErrorString(status) + ", " + (last != nullptr ? last : ""));
    }
    NcclId id;
    const auto* bytes = reinterpret_cast<const std::byte*>(&unique);
    std::copy(bytes, bytes + id.size(), id.begin());
    return id;
}

Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(const NcclId& id, int rank, int size, std::string axis,
                                                                 NcclOptions options) {
    if (const Result<void> known = knownNccl(); !known) {
        return tl::unexpected(known.error());
    }
    auto made = std::make_unique<NcclCommunicator>(rank, size, std::move(axis), options);
    made->start(id);
    return std::unique_ptr<DeviceCommunicator>(std::move(made));
}

Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(Communicator& host, std::string axis, NcclOptions options) {
    Result<NcclId> id = host.rank() == 0 ? makeNcclId() : Result<NcclId>(NcclId{});
    std::array<double, 1> failed = {id ? 0.0 : 1.0};
    host.allReduce(std::span(failed), Reduce::Max);
    if (!id) {
        return tl::unexpected(id.error());
    }
    if (failed[0] != 0) {
        return fail(ErrorCode::Unavailable, "rank 0 could not make an NCCL id; its own error says why");
    }
    host.broadcast(std::span(*id), 0);
    return makeNcclCommunicator(*id, host.rank(), host.size(), std::move(axis), options);
}

} // namespace telehelm::comm
