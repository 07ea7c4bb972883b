// SPDX-License-Identifier: Apache-2.0
// One rank alone: every collective is a copy or nothing.
#include <algorithm>
#include <map>
#include <stdexcept>
#include <vector>

#include "comm/communicator.h"

namespace telehelm::comm {
namespace {

class SelfCommunicator final : public Communicator {
public:
    [[nodiscard]] int rank() const override { return 0; }
    [[nodiscard]] int size() const override { return 1; }
    [[nodiscard]] std::unique_ptr<Communicator> split(int, int) const override { return makeSelfCommunicator(); }
    void allReduce(std::span<float>, Reduce) override {}
    void allReduce(std::span<double>, Reduce) override {}
    void reduceScatter(std::span<const float> in, std::span<float> out) override { copy(in, out, "reduceScatter"); }
    void allGather(std::span<const float> in, std::span<float> out) override { copy(in, out, "allGather"); }
    void reduceScatter(std::span<const double> in, std::span<double> out) override { copy(in, out, "reduceScatter"); }
    void allGather(std::span<const double> in, std::span<double> out) override { copy(in, out, "allGather"); }
    void broadcast(std::span<std::byte>, int root) override { checkPeer(root, "broadcast"); }

    void send(std::span<const std::byte> data, int to, int tag) override {
        checkPeer(to, "send");
        m_mail.emplace(tag, std::vector<std::byte>(data.begin(), data.end()));
    }
    void recv(std::span<std::byte> data, int from, int tag) override {
        checkPeer(from, "recv");
        const auto letter = m_mail.find(tag); // equal tags come back in the order in which they were sent
        if (letter == m_mail.end() || letter->second.size() > data.size()) {
            throw std::runtime_error("recv: nothing that fits was sent to myself under tag " + std::to_string(tag));
        }
        std::copy(letter->second.begin(), letter->second.end(), data.begin());
        m_mail.erase(letter);
    }
    int post(std::span<const std::byte> data, int to, int tag) override {
        send(data, to, tag);
        return 0;
    }
    void wait(int) override {}
    int startReduceScatter(std::span<const float> in, std::span<float> out) override {
        copy(in, out, "startReduceScatter");
        return 0;
    }
    int startAllGather(std::span<const float> in, std::span<float> out) override {
        copy(in, out, "startAllGather");
        return 0;
    }
    void finish(int) override {}
    void progress() override {}
    void barrier() override {}

private:
    static void checkPeer(int peer, const char* call) {
        if (peer != 0) {
            throw std::runtime_error(std::string(call) + ": no rank " + std::to_string(peer) + " beside rank 0");
        }
    }
    template <typename T> static void copy(std::span<const T> in, std::span<T> out, const char* call) {
        if (in.size() != out.size()) {
            throw std::runtime_error(std::string(call) + ": in and out must be equally long on one rank");
        }
        if (in.data() != out.data()) {
            std::copy(in.begin(), in.end(), out.begin());
        }
    }

    std::multimap<int, std::vector<std::byte>> m_mail;
};

} // namespace

std::unique_ptr<Communicator> makeSelfCommunicator() {
    return std::make_unique<SelfCommunicator>();
}

} // namespace telehelm::comm
