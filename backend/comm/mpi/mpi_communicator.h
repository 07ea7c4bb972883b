// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

#include <vector>

#include "comm/communicator.h"

namespace telehelm::comm {

class MpiCommunicator final : public Communicator {
public:
    /// `owned`: the handle is freed with this object.
    MpiCommunicator(MPI_Comm handle, bool owned);
    ~MpiCommunicator() override;
    MpiCommunicator(const MpiCommunicator&) = delete;
    MpiCommunicator& operator=(const MpiCommunicator&) = delete;

    [[nodiscard]] int rank() const override { return m_rank; }
    [[nodiscard]] int size() const override { return m_size; }
    [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) const override;
    void allReduce(std::span<float> data, Reduce op) override;
    void allReduce(std::span<double> data, Reduce op) override;
    void reduceScatter(std::span<const float> in, std::span<float> out) override;
    void reduceScatter(std::span<const double> in, std::span<double> out) override;
    void allGather(std::span<const float> in, std::span<float> out) override;
    void allGather(std::span<const double> in, std::span<double> out) override;
    void broadcast(std::span<std::byte> data, int root) override;
    void send(std::span<const std::byte> data, int to, int tag) override;
    void recv(std::span<std::byte> data, int from, int tag) override;
    int post(std::span<const std::byte> data, int to, int tag) override;
    void wait(int ticket) override;
    [[nodiscard]] int startReduceScatter(std::span<const float> in, std::span<float> out) override;
    [[nodiscard]] int startAllGather(std::span<const float> in, std::span<float> out) override;
    void finish(int ticket) override;
    void progress() override;
    [[nodiscard]] std::size_t bytes() const override;
    void barrier() override;

private:
    /// A collective on its way.
    struct Started {
        MPI_Request request = MPI_REQUEST_NULL;
        bool isFree = true;
        std::vector<float> parts; // of a reduce-scatter: all ranks' blocks for this one
        std::span<float> sum;     // where they go; empty: done
    };
    Started& freeStarted();
    void addUp(Started& started) const;
    template <typename T> void scatterSum(std::span<const T> in, std::span<T> out, MPI_Datatype type);
    template <typename T> void gather(std::span<const T> in, std::span<T> out, MPI_Datatype type);

    MPI_Comm m_handle;
    bool m_owned;
    int m_rank = 0, m_size = 1;
    std::vector<MPI_Request> m_posted; // by ticket; MPI_REQUEST_NULL: free
    std::vector<Started> m_started;    // by ticket; they keep their memory for the next call
};

} // namespace telehelm::comm
