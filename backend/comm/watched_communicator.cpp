// SPDX-License-Identifier: Apache-2.0
#include "comm/watched_communicator.h"

namespace telehelm::comm {
namespace {

class WatchedCommunicator final : public Communicator {
public:
    WatchedCommunicator(Communicator& inner, CallListener& listener) : m_inner(inner), m_listener(listener) {}

    [[nodiscard]] int rank() const override { return m_inner.rank(); }
    [[nodiscard]] int size() const override { return m_inner.size(); }
    [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) const override { return m_inner.split(colour, key); }

    void allReduce(std::span<float> data, Reduce op) override {
        timed(Call::Collective, [&] { m_inner.allReduce(data, op); });
    }
    void allReduce(std::span<double> data, Reduce op) override {
        timed(Call::Collective, [&] { m_inner.allReduce(data, op); });
    }
    void reduceScatter(std::span<const float> in, std::span<float> out) override {
        timed(Call::Collective, [&] { m_inner.reduceScatter(in, out); });
    }
    void reduceScatter(std::span<const double> in, std::span<double> out) override {
        timed(Call::Collective, [&] { m_inner.reduceScatter(in, out); });
    }
    void allGather(std::span<const float> in, std::span<float> out) override {
        timed(Call::Collective, [&] { m_inner.allGather(in, out); });
    }
    void allGather(std::span<const double> in, std::span<double> out) override {
        timed(Call::Collective, [&] { m_inner.allGather(in, out); });
    }
    void broadcast(std::span<std::byte> data, int root) override {
        timed(Call::Collective, [&] { m_inner.broadcast(data, root); });
    }
    void send(std::span<const std::byte> data, int to, int tag) override {
        timed(Call::Send, [&] { m_inner.send(data, to, tag); });
    }
    void recv(std::span<std::byte> data, int from, int tag) override {
        timed(Call::Receive, [&] { m_inner.recv(data, from, tag); });
    }
    [[nodiscard]] int post(std::span<const std::byte> data, int to, int tag) override {
        int ticket = 0;
        timed(Call::Send, [&] { ticket = m_inner.post(data, to, tag); });
        return ticket;
    }
    void wait(int ticket) override {
        timed(Call::Send, [&] { m_inner.wait(ticket); });
    }
    [[nodiscard]] int startReduceScatter(std::span<const float> in, std::span<float> out) override {
        int ticket = 0;
        timed(Call::Collective, [&] { ticket = m_inner.startReduceScatter(in, out); });
        return ticket;
    }
    [[nodiscard]] int startAllGather(std::span<const float> in, std::span<float> out) override {
        int ticket = 0;
        timed(Call::Collective, [&] { ticket = m_inner.startAllGather(in, out); });
        return ticket;
    }
    void finish(int ticket) override {
        timed(Call::Collective, [&] { m_inner.finish(ticket); });
    }
    void progress() override {
        timed(Call::Collective, [&] { m_inner.progress(); });
    }
    [[nodiscard]] std::size_t bytes() const override { return m_inner.bytes(); }
    void barrier() override {
        timed(Call::Collective, [&] { m_inner.barrier(); });
    }

private:
    template <typename Function> void timed(Call call, const Function& function) { watchedCall(m_listener, call, function); }

    Communicator& m_inner;
    CallListener& m_listener;
};

} // namespace

std::unique_ptr<Communicator> watchedCommunicator(Communicator& inner, CallListener& listener) {
    return std::make_unique<WatchedCommunicator>(inner, listener);
}

} // namespace telehelm::comm
