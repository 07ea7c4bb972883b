// SPDX-License-Identifier: Apache-2.0
// A rank of several that says and hears nothing: what a rank computes can be timed without its peers.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "comm/device_communicator.h"

namespace telehelm::bench {

class SilentDeviceCommunicator final : public comm::DeviceCommunicator {
public:
    explicit SilentDeviceCommunicator(int size) : m_size(size) {}
    [[nodiscard]] int rank() const override { return 0; }
    [[nodiscard]] int size() const override { return m_size; }
    [[nodiscard]] const std::string& axis() const override { return m_axis; }
    [[nodiscard]] bool isRecordable() const override { return true; }
    [[nodiscard]] std::unique_ptr<DeviceCommunicator> split(int, int, std::string) override {
        return std::make_unique<SilentDeviceCommunicator>(1);
    }
    void allReduce(void*, std::size_t, comm::DeviceType, comm::Reduce, const Stream&) override {}
    void reduceScatter(const void*, void*, std::size_t, comm::DeviceType, const Stream&) override { refuse(); }
    void allGather(const void*, void*, std::size_t, comm::DeviceType, const Stream&) override { refuse(); }
    void broadcast(void*, std::size_t, int, const Stream&) override {}
    void send(const void*, std::size_t, int, const Stream&) override { refuse(); }
    void recv(void*, std::size_t, int, const Stream&) override { refuse(); }
    void exchange(std::span<const comm::DeviceSend>, std::span<const comm::DeviceRecv>, const Stream&) override { refuse(); }
    void abort() override {}
    void wait(const kernels::cuda::Event& mark) override { mark.synchronize(); }
    void wait(const Stream& stream) override { stream.synchronize(); }

private:
    /// They would leave memory unwritten.
    [[noreturn]] static void refuse() { throw std::logic_error("a silent rank has nobody to get data from"); }
    int m_size;
    std::string m_axis = "tensor, silent";
};

} // namespace telehelm::bench
