// SPDX-License-Identifier: Apache-2.0
// A device for machines without one: its memory is the heap's, and a stream does nothing until somebody waits for it. What reads
// a buffer too early finds poison.
#pragma once

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <vector>

#include "comm/device_communicator.h"

namespace telehelm::tests {

class DeferredMemory final : public comm::DeviceMemory {
public:
    ~DeferredMemory() override = default;
    [[nodiscard]] void* allocateDevice(std::size_t bytes) override { return poisoned(bytes); }
    void freeDevice(void* memory) override { std::free(memory); }
    [[nodiscard]] std::byte* allocateHost(std::size_t bytes) override {
        ++hostBuffers;
        return static_cast<std::byte*>(poisoned(bytes));
    }
    void freeHost(std::byte* memory) override {
        --hostBuffers;
        std::free(memory);
    }
    [[nodiscard]] comm::DeviceStream makeStream() override { return new int(0); }
    void freeStream(comm::DeviceStream stream) override {
        if (!m_queues[stream].empty()) {
            throw std::logic_error("a stream was given back with work in it");
        }
        delete static_cast<int*>(stream);
    }
    void toHost(std::byte* host, const void* device, std::size_t bytes, comm::DeviceStream stream) override {
        m_queues[stream].emplace_back([=] { std::memcpy(host, device, bytes); });
    }
    void toDevice(void* device, const std::byte* host, std::size_t bytes, comm::DeviceStream stream) override {
        m_queues[stream].emplace_back([=] { std::memcpy(device, host, bytes); });
    }
    void synchronise(comm::DeviceStream stream) override {
        for (const auto& work : std::exchange(m_queues[stream], {})) {
            work();
        }
    }

    int hostBuffers = 0; // that nobody has freed

private:
    static constexpr int kPoison = 0xFB; // as floats and as bf16: about −1e36
    static void* poisoned(std::size_t bytes) {
        void* memory = std::malloc(bytes + 1);
        std::memset(memory, kPoison, bytes);
        return memory;
    }
    std::map<comm::DeviceStream, std::vector<std::function<void()>>> m_queues;
};

} // namespace telehelm::tests
