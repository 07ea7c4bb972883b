// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/mpi_communicator.h"

#include <algorithm>
#include <utility>

#include "comm/mpi/mpi_check.h"

namespace telehelm::comm {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 28; // MPI counts in int: longer buffers go in pieces

MPI_Op opOf(Reduce op) {
    return op == Reduce::Sum ? MPI_SUM : op == Reduce::Max ? MPI_MAX : MPI_MIN;
}

/// Calls `piece(offset, count)` until `size` elements are done.
template <typename Piece> void inChunks(std::size_t size, const Piece& piece) {
    for (std::size_t from = 0; from < size; from += kChunk) {
        piece(from, static_cast<int>(std::min(kChunk, size - from)));
    }
}

void require(bool holds, const char* what) {
    if (!holds) {
        throw std::runtime_error(what);
    }
}

} // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm handle, bool owned) : m_handle(handle), m_owned(owned) {
    TELEHELM_MPI(MPI_Comm_set_errhandler(m_handle, MPI_ERRORS_RETURN));
    TELEHELM_MPI(MPI_Comm_rank(m_handle, &m_rank));
    TELEHELM_MPI(MPI_Comm_size(m_handle, &m_size));
}

MpiCommunicator::~MpiCommunicator() {
    int finalized = 0;
    if (m_owned && MPI_Finalized(&finalized) == MPI_SUCCESS && finalized == 0) {
        MPI_Comm_free(&m_handle);
    }
}

std::unique_ptr<Communicator> MpiCommunicator::split(int colour, int key) const {
    MPI_Comm part = MPI_COMM_NULL;
    TELEHELM_MPI(MPI_Comm_split(m_handle, colour, key, &part));
    return std::make_unique<MpiCommunicator>(part, true);
}

void MpiCommunicator::allReduce(std::span<float> data, Reduce op) {
    inChunks(data.size(), [&](std::size_t from, int count) {
        TELEHELM_MPI(MPI_Allreduce(MPI_IN_PLACE, data.data() + from, count, MPI_FLOAT, opOf(op), m_handle));
    });
}

void MpiCommunicator::allReduce(std::span<double> data, Reduce op) {
    inChunks(data.size(), [&](std::size_t from, int count) {
        TELEHELM_MPI(MPI_Allreduce(MPI_IN_PLACE, data.data() + from, count, MPI_DOUBLE, opOf(op), m_handle));
    });
}

template <typename T> void MpiCommunicator::scatterSum(std::span<const T> in, std::span<T> out, MPI_Datatype type) {
    require(in.size() == out.size() * static_cast<std::size_t>(m_size),
            "reduceScatter: in must be size() blocks of out's length");
    if (in.size() <= kChunk) {
        TELEHELM_MPI(MPI_Reduce_scatter_block(in.data(), out.data(), static_cast<int>(out.size()), type, MPI_SUM, m_handle));
        return;
    }
    for (int root = 0; root < m_size; ++root) {
        const T* block = in.data() + static_cast<std::size_t>(root) * out.size();
        inChunks(out.size(), [&](std::size_t from, int count) {
            TELEHELM_MPI(MPI_Reduce(block + from, out.data() + from, count, type, MPI_SUM, root, m_handle));
        });
    }
}

template <typename T> void MpiCommunicator::gather(std::span<const T> in, std::span<T> out, MPI_Datatype type) {
    require(out.size() == in.size() * static_cast<std::size_t>(m_size), "allGather: out must be size() blocks of in's length");
    T* own = out.data() + static_cast<std::size_t>(m_rank) * in.size();
    if (out.size() <= kChunk) {
        const int count = static_cast<int>(in.size());
        const void* from = in.data() == own ? MPI_IN_PLACE : static_cast<const void*>(in.data());
        TELEHELM_MPI(MPI_Allgather(from, count, type, out.data(), count, type, m_handle));
        return;
    }
    if (in.data() != own) {
        std::copy(in.begin(), in.end(), own);
    }
    for (int root = 0; root < m_size; ++root) {
        broadcast(std::as_writable_bytes(out.subspan(static_cast<std::size_t>(root) * in.size(), in.size())), root);
    }
}

void MpiCommunicator::reduceScatter(std::span<const float> in, std::span<float> out) {
    scatterSum(in, out, MPI_FLOAT);
}

void MpiCommunicator::reduceScatter(std::span<const double> in, std::span<double> out) {
    scatterSum(in, out, MPI_DOUBLE);
}

void MpiCommunicator::allGather(std::span<const float> in, std::span<float> out) {
    gather(in, out, MPI_FLOAT);
}

void MpiCommunicator::allGather(std::span<const double> in, std::span<double> out) {
    gather(in, out, MPI_DOUBLE);
}

void MpiCommunicator::broadcast(std::span<std::byte> data, int root) {
    inChunks(data.size(),
             [&](std::size_t from, int count) { TELEHELM_MPI(MPI_Bcast(data.data() + from, count, MPI_BYTE, root, m_handle)); });
}

void MpiCommunicator::send(std::span<const std::byte> data, int to, int tag) {
    inChunks(data.size(), [&](std::size_t from, int count) {
        TELEHELM_MPI(MPI_Send(data.data() + from, count, MPI_BYTE, to, tag, m_handle));
    });
}

void MpiCommunicator::recv(std::span<std::byte> data, int from, int tag) {
    inChunks(data.size(), [&](std::size_t at, int count) {
        TELEHELM_MPI(MPI_Recv(data.data() + at, count, MPI_BYTE, from, tag, m_handle, MPI_STATUS_IGNORE));
    });
}

int MpiCommunicator::post(std::span<const std::byte> data, int to, int tag) {
    require(data.size() <= kChunk, "post: more than 256 MiB in one message");
    auto place = std::find(m_posted.begin(), m_posted.end(), MPI_REQUEST_NULL);
    if (place == m_posted.end()) {
        place = m_posted.insert(m_posted.end(), MPI_REQUEST_NULL);
    }
    TELEHELM_MPI(MPI_Isend(data.data(), static_cast<int>(data.size()), MPI_BYTE, to, tag, m_handle, &*place));
    return static_cast<int>(place - m_posted.begin());
}

void MpiCommunicator::wait(int ticket) {
    TELEHELM_MPI(MPI_Wait(&m_posted[static_cast<std::size_t>(ticket)], MPI_STATUS_IGNORE));
}

MpiCommunicator::Started& MpiCommunicator::freeStarted() {
    auto place = std::ranges::find(m_started, true, &Started::isFree);
    if (place == m_started.end()) {
        place = m_started.emplace(m_started.end());
    }
    place->isFree = false;
    return *place;
}

/// Each rank sends every other one its block, and the owner adds them up in the order of the ranks: one round of messages, which
/// needs no rank's help in between, and a sum that is the same for any library and any cut of the buffer.
int MpiCommunicator::startReduceScatter(std::span<const float> in, std::span<float> out) {
    require(in.size() == out.size() * static_cast<std::size_t>(m_size), "startReduceScatter: in must be size() blocks of out's length");
    require(in.size() * sizeof(float) <= kChunk, "startReduceScatter: more than 256 MiB at once");
    Started& started = freeStarted();
    started.parts.resize(in.size());
    started.sum = out;
    const int count = static_cast<int>(out.size());
    TELEHELM_MPI(MPI_Ialltoall(in.data(), count, MPI_FLOAT, started.parts.data(), count, MPI_FLOAT, m_handle, &started.request));
    return static_cast<int>(&started - m_started.data());
}

int MpiCommunicator::startAllGather(std::span<const float> in, std::span<float> out) {
    require(out.size() == in.size() * static_cast<std::size_t>(m_size), "startAllGather: out must be size() blocks of in's length");
    require(out.size() * sizeof(float) <= kChunk, "startAllGather: more than 256 MiB at once");
    Started& started = freeStarted();
    const int count = static_cast<int>(in.size());
    const bool isInPlace = in.data() == out.data() + static_cast<std::size_t>(m_rank) * in.size();
    const void* from = isInPlace ? MPI_IN_PLACE : static_cast<const void*>(in.data());
    TELEHELM_MPI(MPI_Iallgather(from, count, MPI_FLOAT, out.data(), count, MPI_FLOAT, m_handle, &started.request));
    return static_cast<int>(&started - m_started.data());
}

void MpiCommunicator::addUp(Started& started) const {
    const std::span<float> sum = std::exchange(started.sum, {});
    if (sum.empty()) {
        return;
    }
    std::copy_n(started.parts.data(), sum.size(), sum.data());
    for (std::size_t rank = 1; rank < static_cast<std::size_t>(m_size); ++rank) {
        const float* part = started.parts.data() + rank * sum.size();
        for (std::size_t i = 0; i < sum.size(); ++i) {
            sum[i] += part[i];
        }
    }
}

void MpiCommunicator::finish(int ticket) {
    Started& started = m_started[static_cast<std::size_t>(ticket)];
    TELEHELM_MPI(MPI_Wait(&started.request, MPI_STATUS_IGNORE));
    addUp(started);
    started.isFree = true;
}

void MpiCommunicator::progress() {
    for (Started& started : m_started) {
        int isDone = 0;
        if (started.request != MPI_REQUEST_NULL) {
            TELEHELM_MPI(MPI_Test(&started.request, &isDone, MPI_STATUS_IGNORE));
        }
        if (isDone != 0) {
            addUp(started);
        }
    }
}

std::size_t MpiCommunicator::bytes() const {
    std::size_t bytes = 0;
    for (const Started& started : m_started) {
        bytes += started.parts.capacity() * sizeof(float);
    }
    return bytes;
}

void MpiCommunicator::barrier() {
    TELEHELM_MPI(MPI_Barrier(m_handle));
}

} // namespace telehelm::comm
