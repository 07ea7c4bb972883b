// SPDX-License-Identifier: Apache-2.0
// What the NCCL adapter does when things go wrong, against an NCCL and a CUDA runtime that do as they are told: this program's
// own symbols come before the libraries'.
#include <QtTest>

#include <cstring>
#include <functional>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "comm/device_communicator.h"

using namespace telehelm;
using namespace telehelm::comm;
using namespace std::chrono_literals;

namespace {

/// The world as the fakes below play it.
struct World {
    std::vector<std::string> calls;
    int inProgress = 0;                    // polls until a call has been enqueued; negative: for ever
    ncclResult_t asyncError = ncclSuccess; // from then on
    int streamBusy = 0;                    // queries until the stream is done; negative: for ever
    int eventsDone = 0;                    // events from the oldest that have been reached
    int eventsRecorded = 0;
    int communicators = 0; // that were neither destroyed nor aborted
    bool capturing = false;
    bool isBlocking = true;
    int aborted = 0;
    ncclComm_t* handle = nullptr; // of the last communicator begun: NCCL may write it from its own thread until it is ready
    ncclComm_t part = nullptr;    // of a split, to be written there after some polls
    int polls = 0;
    cudaError_t lastError = cudaSuccess; // as CUDA remembers it until it is asked
};
World world;

ncclResult_t call(const char* name) {
    world.calls.emplace_back(name);
    return world.inProgress != 0 ? ncclInProgress : ncclSuccess;
}

ncclComm_t newComm(const ncclConfig_t* config) {
    ++world.communicators;
    world.isBlocking = config == nullptr || config->blocking != 0;
    return reinterpret_cast<ncclComm_t>(new int(0));
}

std::string textOf(const std::function<void()>& run) {
    try {
        run();
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return {};
}

std::unique_ptr<DeviceCommunicator> make(std::chrono::milliseconds timeout = 50ms) {
    auto made = makeNcclCommunicator(NcclId{}, 1, 4, "tensor", {.timeout = timeout});
    return made ? std::move(*made) : nullptr;
}

int memory[64];
constexpr auto kBf16 = DeviceType::Bf16;

} // namespace

// The adapter only asks a stream for its handle.
namespace telehelm::kernels::cuda {
Stream::Stream() : m_handle(new int(0)) {}
void detail::StreamEnd::operator()(void* handle) const {
    delete static_cast<int*>(handle);
}
} // namespace telehelm::kernels::cuda

extern "C" {
const char* ncclGetErrorString(ncclResult_t result) {
    return result == ncclRemoteError ? "remote process exited" : result == ncclInProgress ? "in progress" : "unhandled";
}
const char* ncclGetLastError(ncclComm_t) {
    return "socket closed by 10.0.0.7";
}
ncclResult_t ncclGetVersion(int* version) {
    *version = 22809;
    return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
    std::memset(id, 7, sizeof *id);
    return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int, ncclUniqueId, int, ncclConfig_t* config) {
    *comm = newComm(config);
    world.handle = comm;
    return call("init");
}
ncclResult_t ncclCommSplit(ncclComm_t, int, int, ncclComm_t* part, ncclConfig_t* config) {
    *part = nullptr;
    world.handle = part;
    world.part = newComm(config);
    world.polls = 0;
    return call("split");
}
ncclResult_t ncclCommUserRank(ncclComm_t, int* rank) {
    *rank = 1;
    return ncclSuccess;
}
ncclResult_t ncclCommCount(ncclComm_t, int* count) {
    *count = 2;
    return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* error) {
    if (world.inProgress > 0) {
        --world.inProgress;
    }
    if (world.part != nullptr && ++world.polls > 6) {
        *world.handle = std::exchange(world.part, nullptr);
    }
    *error = world.inProgress != 0 ? ncclInProgress : world.asyncError;
    return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t) {
    return call("finalize");
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    --world.communicators;
    delete reinterpret_cast<int*>(comm);
    return call("destroy");
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
    --world.communicators;
    ++world.aborted;
    if (world.inProgress != 0) {
        *world.handle = comm; // the background's last word
    }
    delete reinterpret_cast<int*>(comm);
    return call("abort");
}
ncclResult_t ncclAllReduce(const void*, void*, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t) {
    return call("allReduce");
}
ncclResult_t ncclReduceScatter(const void*, void*, size_t count, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t) {
    return call(count == 16 ? "reduceScatter of 16 each" : "reduceScatter of a wrong count");
}
ncclResult_t ncclAllGather(const void*, void*, size_t count, ncclDataType_t, ncclComm_t, cudaStream_t) {
    return call(count == 16 ? "allGather of 16 each" : "allGather of a wrong count");
}
ncclResult_t ncclBroadcast(const void*, void*, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t) {
    return call("broadcast");
}
ncclResult_t ncclSend(const void*, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t) {
    return call("send");
}
ncclResult_t ncclRecv(void*, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t) {
    return call("recv");
}
ncclResult_t ncclGroupStart() {
    world.calls.emplace_back("group start");
    return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
    return call("group end");
}

cudaError_t cudaStreamQuery(cudaStream_t) {
    if (world.streamBusy > 0) {
        --world.streamBusy;
    }
    return world.streamBusy != 0 ? world.lastError = cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
    *status = world.capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    *event = reinterpret_cast<cudaEvent_t>(new int(0));
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete reinterpret_cast<int*>(event);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    *reinterpret_cast<int*>(event) = ++world.eventsRecorded;
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    return *reinterpret_cast<int*>(event) <= world.eventsDone ? cudaSuccess : world.lastError = cudaErrorNotReady;
}
cudaError_t cudaGetLastError() {
    return std::exchange(world.lastError, cudaSuccess);
}
const char* cudaGetErrorString(cudaError_t) {
    return "an error";
}
const char* cudaGetErrorName(cudaError_t) {
    return "cudaErrorFake";
}
}

class NcclTest : public QObject {
    Q_OBJECT
private slots:
    void init() { world = {}; }
    /// Whatever happened, every communicator is ended once, and no query's "not ready" is left for the next launch to find.
    void cleanup() {
        QCOMPARE(world.communicators, 0);
        QCOMPARE(world.lastError, cudaSuccess);
    }

    void startsAndEndsTogether() {
        world.inProgress = 5;
        {
            const auto comm = make();
            QVERIFY(comm);
            QVERIFY2(!world.isBlocking, "communicators must not block");
            QCOMPARE(world.inProgress, 0);
        }
        QCOMPARE(world.calls, std::vector<std::string>({"init", "finalize", "destroy"}));
    }

    void idGoesThroughTheHost() {
        const auto host = makeSelfCommunicator();
        const auto comm = makeNcclCommunicator(*host, "world");
        QVERIFY(comm.has_value());
        QCOMPARE((*comm)->size(), 1);
        QCOMPARE(ncclVersion(), std::string("2.28.9"));
    }

    void startThatNobodyJoins() {
        world.inProgress = -1;
        const std::string text = textOf([] { (void)make(); });
        QVERIFY2(text.find("NCCL ncclCommInitRankConfig on axis tensor, rank 1 of 4: not begun by all ranks after 0.05 s") == 0,
                 text.c_str());
        QCOMPARE(world.aborted, 1);
    }

    void everyCallIsEnqueued() {
        const auto comm = make();
        comm->allReduce(memory, 16, kBf16, Reduce::Max, m_stream);
        comm->reduceScatter(memory, memory, 16, DeviceType::Float, m_stream);
        comm->allGather(memory, memory, 16, DeviceType::Float, m_stream);
        comm->broadcast(memory, 32, 3, m_stream);
        const DeviceSend sends[] = {{memory, 256, 2}};
        const DeviceRecv recvs[] = {{memory, 64, 0}};
        comm->exchange(sends, recvs, m_stream);
        QCOMPARE(world.calls, std::vector<std::string>({"init", "allReduce", "reduceScatter of 16 each", "allGather of 16 each",
                                                        "broadcast", "group start", "send", "recv", "group end"}));
    }

    void splitsByAxis() {
        const auto comm = make();
        world.inProgress = 3;
        const auto part = comm->split(0, 0, "data");
        QCOMPARE(part->axis(), std::string("data"));
        QCOMPARE(part->rank(), 1);
        QCOMPARE(part->size(), 2);
        QVERIFY(!world.isBlocking);
    }

    /// The oldest call that hangs is named, not the last one; the communicator is of no use afterwards and says so.
    void hangNamesTheCall() {
        const auto comm = make();
        comm->broadcast(memory, 32, 0, m_stream);
        comm->reduceScatter(memory, memory, 16, DeviceType::Float, m_stream);
        comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream);
        world.eventsDone = 1;
        world.streamBusy = -1;
        const std::string text = textOf([&] { comm->wait(m_stream); });
        QVERIFY2(text.find("NCCL reduceScatter of 64 fp32 on axis tensor, rank 1 of 4: not finished after 0.05 s") == 0,
                 text.c_str());
        QCOMPARE(world.aborted, 1);
        const std::string later = textOf([&] { comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream); });
        QVERIFY2(later.find("aborted before") != std::string::npos, later.c_str());
    }

    /// A rank that fails elsewhere does not wait for its peers on its way out.
    void abortsWhenItsRankFails() {
        const auto comm = make();
        comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream);
        world.streamBusy = -1;
        comm->abort();
        QCOMPARE(world.aborted, 1);
        const std::string later = textOf([&] { comm->wait(m_stream); });
        QVERIFY2(later.find("aborted before") != std::string::npos, later.c_str());
        world.streamBusy = 0;
    }

    void waitComesBackWhenTheStreamIsDone() {
        const auto comm = make(10s);
        comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream);
        world.streamBusy = 2000;
        comm->wait(m_stream);
        QCOMPARE(world.streamBusy, 0);
        QCOMPARE(world.aborted, 0);
    }

    void otherWorkThatHangsIsNotBlamedOnACall() {
        const auto comm = make();
        comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream);
        world.eventsDone = 1;
        world.streamBusy = -1;
        const std::string text = textOf([&] { comm->wait(m_stream); });
        QVERIFY2(text.find("none of this communicator's calls is pending") != std::string::npos, text.c_str());
    }

    void errorOfAPeerEndsTheWait() {
        const auto comm = make(10min);
        comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream);
        world.streamBusy = -1;
        world.asyncError = ncclRemoteError;
        const std::string text = textOf([&] { comm->wait(m_stream); });
        QVERIFY2(text.find("NCCL allReduce of 16 bf16 on axis tensor, rank 1 of 4: remote process exited") == 0, text.c_str());
        QCOMPARE(world.aborted, 1);
    }

    void callThatFailsAtOnce() {
        const auto comm = make();
        world.inProgress = 2;
        world.asyncError = ncclSystemError;
        const std::string text = textOf([&] { comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream); });
        QVERIFY2(text.find("NCCL allReduce on axis tensor") == 0 && text.find("socket closed by 10.0.0.7") != std::string::npos,
                 text.c_str());
    }

    /// Calls that are captured into a graph must not be asked for later: an event of a capture can't be queried.
    void capturedCallsLeaveNoEvents() {
        const auto comm = make();
        world.capturing = true;
        comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream);
        QCOMPARE(world.eventsRecorded, 0);
    }

    void longTrailForgetsTheOldest() {
        const auto comm = make();
        for (int i = 0; i < 1000; ++i) {
            comm->broadcast(memory, 32, 0, m_stream);
        }
        comm->allReduce(memory, 16, kBf16, Reduce::Sum, m_stream);
        world.eventsDone = 1000;
        world.streamBusy = -1;
        const std::string text = textOf([&] { comm->wait(m_stream); });
        QVERIFY2(text.find("NCCL allReduce of 16 bf16") == 0, text.c_str());
    }

private:
    const kernels::cuda::Stream m_stream;
};

QTEST_GUILESS_MAIN(NcclTest)
#include "tst_nccl.moc"
