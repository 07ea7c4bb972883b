// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

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
    void allGather(std::span<const float> in, std::span<float> out) override;
    void broadcast(std::span<std::byte> data, int root) override;
    void send(std::span<const std::byte> data, int to, int tag) override;
    void recv(std::span<std::byte> data, int from, int tag) override;
    void barrier() override;

private:
    MPI_Comm m_handle;
    bool m_owned;
    int m_rank = 0, m_size = 1;
};

} // namespace telehelm::comm
