// SPDX-License-Identifier: Apache-2.0
#include "device_comm_checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "telehelm/kernels/cuda/bf16.h"

namespace telehelm::tests {

using namespace comm;
using kernels::cuda::Bf16;
using kernels::cuda::Stream;

namespace {

void expect(bool holds, const std::string& what) {
    if (!holds) {
        throw std::runtime_error(what);
    }
}

struct Rig {
    DeviceCommunicator& world;
    const Stream& first;
    const Stream& second;
    [[nodiscard]] std::size_t n() const { return static_cast<std::size_t>(world.size()); }
    [[nodiscard]] std::size_t r() const { return static_cast<std::size_t>(world.rank()); }
};

/// Elements on the device, filled from floats by a copy on the stream that nobody waits for.
class Buffer {
public:
    Buffer(const Rig& rig, std::size_t count, DeviceType type)
        : m_world(rig.world), m_type(type), m_count(count), m_device(count * bytesOf(type)), m_host(count * bytesOf(type)) {}

    void fill(const std::vector<float>& values, const Stream& stream) {
        expect(values.size() == m_count, "test's own mistake");
        if (m_type == DeviceType::Float) {
            std::memcpy(m_host.data(), values.data(), m_host.size());
        } else {
            std::ranges::transform(values, reinterpret_cast<Bf16*>(m_host.data()), kernels::cuda::toBf16);
        }
        kernels::cuda::copyToDevice(m_device.data(), m_host.data(), m_host.size(), stream);
    }
    [[nodiscard]] std::vector<float> read(const Stream& stream) const {
        m_world.wait(stream);
        std::vector<std::byte> host(m_host.size());
        kernels::cuda::copyToHost(host.data(), m_device.data(), host.size(), stream);
        m_world.wait(stream);
        std::vector<float> values(m_count);
        if (m_type == DeviceType::Float) {
            std::memcpy(values.data(), host.data(), host.size());
        } else {
            const auto* bits = reinterpret_cast<const Bf16*>(host.data());
            std::transform(bits, bits + m_count, values.begin(), kernels::cuda::toFloat);
        }
        return values;
    }
    [[nodiscard]] std::byte* at(std::size_t element = 0) const { return m_device.data() + element * bytesOf(m_type); }
    [[nodiscard]] std::size_t bytes() const { return m_host.size(); }

private:
    DeviceCommunicator& m_world;
    DeviceType m_type;
    std::size_t m_count;
    kernels::cuda::DeviceBuffer m_device;
    std::vector<std::byte> m_host;
};

/// Small whole numbers, other ones in each place and rank; exact in bf16, their sums over four ranks too.
std::vector<float> pattern(std::size_t count, std::size_t rank) {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        values[i] = static_cast<float>((i * 7 + rank * 13) % 61) - 30.0F;
    }
    return values;
}

constexpr std::size_t kCounts[] = {1, 7, 64, 1031}; // below, at and above a piece of the staging buffer; odd ones

void checkAllReduce(const Rig& rig, DeviceType type) {
    for (const std::size_t count : kCounts) {
        Buffer data(rig, count, type);
        data.fill(pattern(count, rig.r()), rig.first);
        rig.world.allReduce(data.at(), count, type, Reduce::Sum, rig.first);
        const std::vector<float> got = data.read(rig.first);
        for (std::size_t i = 0; i < count; ++i) {
            float sum = 0;
            for (std::size_t rank = 0; rank < rig.n(); ++rank) {
                sum += pattern(count, rank)[i];
            }
            expect(got[i] == sum, "allReduce of " + std::to_string(count) + " " + (type == DeviceType::Float ? "fp32" : "bf16") +
                                      ", element " + std::to_string(i));
            if (i == 300) {
                i = count - 300; // pattern() is slow, the ends tell
            }
        }
    }
    Buffer extremes(rig, 3, type);
    const auto own = static_cast<float>(rig.r());
    extremes.fill({own, -own, 5}, rig.first);
    rig.world.allReduce(extremes.at(), 3, type, Reduce::Max, rig.first);
    expect(extremes.read(rig.first) == std::vector<float>({static_cast<float>(rig.n() - 1), 0, 5}), "allReduce max");
    extremes.fill({own, -own, 5}, rig.first);
    rig.world.allReduce(extremes.at(), 3, type, Reduce::Min, rig.first);
    expect(extremes.read(rig.first) == std::vector<float>({0, -static_cast<float>(rig.n() - 1), 5}), "allReduce min");
}

void checkScatterAndGather(const Rig& rig, DeviceType type) {
    for (const std::size_t count : kCounts) {
        const std::string what = std::to_string(count) + " " + (type == DeviceType::Float ? "fp32" : "bf16");
        Buffer whole(rig, count * rig.n(), type);
        Buffer shard(rig, count, type);
        whole.fill(pattern(count * rig.n(), rig.r()), rig.first);
        rig.world.reduceScatter(whole.at(), shard.at(), count, type, rig.first);
        std::vector<float> sum(count * rig.n());
        for (std::size_t rank = 0; rank < rig.n(); ++rank) {
            const std::vector<float> theirs = pattern(sum.size(), rank);
            std::transform(sum.begin(), sum.end(), theirs.begin(), sum.begin(), std::plus<>());
        }
        const auto block = sum.begin() + static_cast<std::ptrdiff_t>(rig.r() * count);
        expect(shard.read(rig.first) == std::vector<float>(block, block + static_cast<std::ptrdiff_t>(count)),
               "reduceScatter of " + what);

        rig.world.reduceScatter(whole.at(), whole.at(rig.r() * count), count, type, rig.first); // in place
        rig.world.allGather(whole.at(rig.r() * count), whole.at(), count, type, rig.first);
        expect(whole.read(rig.first) == sum, "reduceScatter and allGather in place of " + what);

        Buffer gathered(rig, count * rig.n(), type);
        rig.world.allGather(shard.at(), gathered.at(), count, type, rig.first);
        expect(gathered.read(rig.first) == sum, "allGather of " + what);
    }
}

void checkMessages(const Rig& rig) {
    for (const std::size_t count : kCounts) {
        Buffer data(rig, count, DeviceType::Float);
        const auto root = static_cast<int>(rig.n()) - 1;
        if (rig.world.rank() == root) {
            data.fill(pattern(count, 99), rig.first);
        }
        rig.world.broadcast(data.at(), data.bytes(), root, rig.first);
        expect(data.read(rig.first) == pattern(count, 99), "broadcast of " + std::to_string(count));

        // Around the ring: everybody sends before anybody receives. Then twice in a row, to be received in order.
        const auto next = static_cast<int>((rig.r() + 1) % rig.n());
        const auto previous = static_cast<int>((rig.r() + rig.n() - 1) % rig.n());
        Buffer out(rig, count, DeviceType::Bf16), more(rig, count, DeviceType::Bf16), in(rig, count, DeviceType::Bf16),
            last(rig, count, DeviceType::Bf16);
        out.fill(pattern(count, rig.r()), rig.first);
        more.fill(pattern(count, rig.r() + 20), rig.first);
        const DeviceSend sends[] = {{out.at(), out.bytes(), next}, {more.at(), more.bytes(), next}};
        const DeviceRecv recvs[] = {{in.at(), in.bytes(), previous}, {last.at(), last.bytes(), previous}};
        rig.world.exchange(sends, recvs, rig.first);
        const auto sender = static_cast<std::size_t>(previous);
        expect(in.read(rig.first) == pattern(count, sender) && last.read(rig.first) == pattern(count, sender + 20),
               "exchange around the ring of " + std::to_string(count));
    }
}

/// From the first rank to the last through all others, as a pipeline does; more messages than may be in flight.
void checkSendAndRecv(const Rig& rig) {
    Buffer data(rig, 1000, DeviceType::Float);
    for (std::size_t turn = 0; rig.n() > 1 && turn < 40; ++turn) {
        if (rig.r() == 0) {
            data.fill(pattern(1000, turn), rig.first);
        } else {
            rig.world.recv(data.at(), data.bytes(), rig.world.rank() - 1, rig.first);
        }
        if (rig.r() + 1 < rig.n()) {
            rig.world.send(data.at(), data.bytes(), rig.world.rank() + 1, rig.first);
        }
        expect(data.read(rig.first) == pattern(1000, turn), "send and recv");
    }
}

/// A call on one stream right after a call on another one: they share the adapter's host memory.
void checkTwoStreams(const Rig& rig) {
    Buffer one(rig, 1031, DeviceType::Float), two(rig, 1031, DeviceType::Float);
    one.fill(pattern(1031, 3), rig.first);
    two.fill(pattern(1031, 4), rig.second);
    rig.world.broadcast(one.at(), one.bytes(), 0, rig.first);
    rig.world.allReduce(two.at(), 1031, DeviceType::Float, Reduce::Max, rig.second);
    rig.world.broadcast(one.at(), one.bytes(), 0, rig.first);
    expect(two.read(rig.second) == pattern(1031, 4) && one.read(rig.first) == pattern(1031, 3), "two streams");
}

void checkSplit(const Rig& rig) {
    const int own = rig.world.rank();
    const auto half = rig.world.split(own % 2, -own, "data"); // keys turn the order round
    expect(half->size() == (rig.world.size() + 1 - own % 2) / 2 && half->rank() == half->size() - 1 - own / 2,
           "split's size and order");
    expect(half->axis() == "data", "split's axis");
    Buffer count(rig, 1, DeviceType::Bf16);
    count.fill({1}, rig.first);
    half->allReduce(count.at(), 1, DeviceType::Bf16, Reduce::Sum, rig.first);
    expect(count.read(rig.first)[0] == static_cast<float>(half->size()), "allReduce of a part");
}

/// bf16 is summed in fp32 and rounded once: 256 + 1 + 1 + … would stay 256 otherwise.
void checkRounding(const Rig& rig) {
    Buffer data(rig, 2, DeviceType::Bf16);
    data.fill({rig.r() == 0 ? 256.0F : 1.0F, rig.r() == 0 ? std::nanf("") : 1.0F}, rig.first);
    rig.world.allReduce(data.at(), 2, DeviceType::Bf16, Reduce::Sum, rig.first);
    const std::vector<float> got = data.read(rig.first);
    const float sum = 256.0F + static_cast<float>(rig.n() - 1);
    expect(got[0] == kernels::cuda::toFloat(kernels::cuda::toBf16(sum)) && std::isnan(got[1]), "rounding of bf16");
}

/// Sends to nobody are refused with the call, the axis and the rank.
void checkRefusals(const Rig& rig) {
    Buffer data(rig, 3, DeviceType::Float);
    const std::string place =
        " on axis " + rig.world.axis() + ", rank " + std::to_string(rig.r()) + " of " + std::to_string(rig.n()) + ": ";
    const auto refused = [&](const char* call, const std::function<void()>& run) {
        std::string text;
        try {
            run();
        } catch (const std::runtime_error& error) {
            text = error.what();
        }
        expect(text.find(call + place) != std::string::npos, "refusal of " + std::string(call) + " says: " + text);
    };
    refused("broadcast", [&] { rig.world.broadcast(data.at(), data.bytes(), rig.world.size(), rig.first); });
    refused("send", [&] { rig.world.send(data.at(), data.bytes(), -1, rig.first); });
    refused("recv", [&] { rig.world.recv(data.at(), data.bytes(), rig.world.size() + 3, rig.first); });
}

} // namespace

void checkDeviceCommunicator(DeviceCommunicator& world) {
    const Stream first, second;
    const Rig rig{world, first, second};
    for (const DeviceType type : {DeviceType::Float, DeviceType::Bf16}) {
        checkAllReduce(rig, type);
        checkScatterAndGather(rig, type);
    }
    checkMessages(rig);
    checkSendAndRecv(rig);
    checkTwoStreams(rig);
    checkSplit(rig);
    checkRounding(rig);
    checkRefusals(rig);
    world.wait(first);
    world.wait(second);
}

void checkStaged(Communicator& host) {
    constexpr StagedOptions kSmall = {.chunkBytes = 256, .sendsInFlight = 3}; // so that everything goes in pieces
    for (const StagedOptions& options : {kSmall, StagedOptions{}}) {
        const auto world = makeStagedCommunicator(host, "world", options);
        expect(!world->isRecordable(), "the staged adapter blocks the host");
        checkDeviceCommunicator(*world);
    }
}

void onThreads(int ranks, const std::function<void(Communicator&)>& check) {
    auto hosts = makeThreadCommunicators(ranks);
    std::vector<std::string> errors(hosts.size());
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
        threads.emplace_back([&, rank] {
            try {
                check(*hosts[rank]);
            } catch (const std::exception& error) {
                errors[rank] = "rank " + std::to_string(rank) + ": " + error.what();
                hosts[rank].reset(); // lets the others go
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const std::string& error : errors) {
        expect(error.empty(), error);
    }
}

} // namespace telehelm::tests
