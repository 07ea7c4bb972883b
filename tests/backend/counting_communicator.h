// SPDX-License-Identifier: Apache-2.0
// A communicator that counts what its rank sends, with ring collectives: (n − 1) / n of a buffer for an all-gather or
// reduce-scatter among n, twice that for an all-reduce.
#pragma once

#include <memory>
#include <utility>

#include "comm/communicator.h"

namespace telehelm::tests {

/// Trainer thread only. A split counts for itself.
class CountingCommunicator final : public comm::Communicator {
public:
    explicit CountingCommunicator(std::unique_ptr<comm::Communicator> inner) : m_inner(std::move(inner)) {}

    [[nodiscard]] double sentBytes() const { return m_sent; }

    [[nodiscard]] int rank() const override { return m_inner->rank(); }
    [[nodiscard]] int size() const override { return m_inner->size(); }
    [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) const override {
        return std::make_unique<CountingCommunicator>(m_inner->split(colour, key));
    }
    void allReduce(std::span<float> data, comm::Reduce op) override {
        countRing(2 * data.size_bytes());
        m_inner->allReduce(data, op);
    }
    void allReduce(std::span<double> data, comm::Reduce op) override {
        countRing(2 * data.size_bytes());
        m_inner->allReduce(data, op);
    }
    void reduceScatter(std::span<const float> in, std::span<float> out) override {
        countRing(in.size_bytes());
        m_inner->reduceScatter(in, out);
    }
    void reduceScatter(std::span<const double> in, std::span<double> out) override {
        countRing(in.size_bytes());
        m_inner->reduceScatter(in, out);
    }
    void allGather(std::span<const float> in, std::span<float> out) override {
        countRing(out.size_bytes());
        m_inner->allGather(in, out);
    }
    void allGather(std::span<const double> in, std::span<double> out) override {
        countRing(out.size_bytes());
        m_inner->allGather(in, out);
    }
    void broadcast(std::span<std::byte> data, int root) override {
        countRing(data.size_bytes());
        m_inner->broadcast(data, root);
    }
    void send(std::span<const std::byte> data, int to, int tag) override {
        m_sent += static_cast<double>(data.size());
        m_inner->send(data, to, tag);
    }
    void recv(std::span<std::byte> data, int from, int tag) override { m_inner->recv(data, from, tag); }
    [[nodiscard]] int post(std::span<const std::byte> data, int to, int tag) override {
        m_sent += static_cast<double>(data.size());
        return m_inner->post(data, to, tag);
    }
    void wait(int ticket) override { m_inner->wait(ticket); }
    [[nodiscard]] int startReduceScatter(std::span<const float> in, std::span<float> out) override {
        countRing(in.size_bytes());
        return m_inner->startReduceScatter(in, out);
    }
    [[nodiscard]] int startAllGather(std::span<const float> in, std::span<float> out) override {
        countRing(out.size_bytes());
        return m_inner->startAllGather(in, out);
    }
    void finish(int ticket) override { m_inner->finish(ticket); }
    void progress() override { m_inner->progress(); }
    [[nodiscard]] std::size_t bytes() const override { return m_inner->bytes(); }
    void barrier() override { m_inner->barrier(); }

private:
    void countRing(std::size_t bytes) { m_sent += static_cast<double>(bytes) * (size() - 1) / size(); }

    std::unique_ptr<comm::Communicator> m_inner;
    double m_sent = 0;
};

} // namespace telehelm::tests
