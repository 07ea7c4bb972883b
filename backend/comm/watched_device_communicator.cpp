// SPDX-License-Identifier: Apache-2.0
#include "comm/watched_device_communicator.h"

#include <utility>

namespace telehelm::comm {
namespace {

class WatchedDeviceCommunicator final : public DeviceCommunicator {
public:
    WatchedDeviceCommunicator(std::unique_ptr<DeviceCommunicator> inner, CallListener& listener)
        : m_inner(std::move(inner)), m_listener(listener) {}

    [[nodiscard]] int rank() const override { return m_inner->rank(); }
    [[nodiscard]] int size() const override { return m_inner->size(); }
    [[nodiscard]] const std::string& axis() const override { return m_inner->axis(); }
    [[nodiscard]] bool isRecordable() const override { return m_inner->isRecordable(); }
    [[nodiscard]] std::unique_ptr<DeviceCommunicator> split(int colour, int key, std::string axis) override {
        return m_inner->split(colour, key, std::move(axis));
    }

    void allReduce(void* data, std::size_t count, DeviceType type, Reduce op, const Stream& stream) override {
        timed(Call::Collective, [&] { m_inner->allReduce(data, count, type, op, stream); });
    }
    void reduceScatter(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) override {
        timed(Call::Collective, [&] { m_inner->reduceScatter(in, out, count, type, stream); });
    }
    void allGather(const void* in, void* out, std::size_t count, DeviceType type, const Stream& stream) override {
        timed(Call::Collective, [&] { m_inner->allGather(in, out, count, type, stream); });
    }
    void broadcast(void* data, std::size_t bytes, int root, const Stream& stream) override {
        timed(Call::Collective, [&] { m_inner->broadcast(data, bytes, root, stream); });
    }
    void send(const void* data, std::size_t bytes, int to, const Stream& stream) override {
        timed(Call::Send, [&] { m_inner->send(data, bytes, to, stream); });
    }
    void recv(void* data, std::size_t bytes, int from, const Stream& stream) override {
        timed(Call::Receive, [&] { m_inner->recv(data, bytes, from, stream); });
    }
    void exchange(std::span<const DeviceSend> sends, std::span<const DeviceRecv> recvs, const Stream& stream) override {
        timed(Call::Receive, [&] { m_inner->exchange(sends, recvs, stream); });
    }
    void wait(const Stream& stream) override {
        timed(Call::Stream, [&] { m_inner->wait(stream); });
    }
    void wait(const kernels::cuda::Event& mark) override {
        timed(Call::Stream, [&] { m_inner->wait(mark); });
    }

    void abort() override { m_inner->abort(); }

private:
    template <typename Function> void timed(Call call, const Function& function) { watchedCall(m_listener, call, function); }

    const std::unique_ptr<DeviceCommunicator> m_inner;
    CallListener& m_listener;
};

} // namespace

std::unique_ptr<DeviceCommunicator> watchedCommunicator(std::unique_ptr<DeviceCommunicator> inner, CallListener& listener) {
    if (inner == nullptr) {
        return nullptr;
    }
    return std::make_unique<WatchedDeviceCommunicator>(std::move(inner), listener);
}

} // namespace telehelm::comm
