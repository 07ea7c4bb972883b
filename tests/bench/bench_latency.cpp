// SPDX-License-Identifier: Apache-2.0
// How old a point is when a subscriber has it: TrainerLink::emit → telehelmd (stored) → LiveSubscriber (latency_rig.h has the daemon
// and the trainer). One JSON line; latencies in milliseconds. The window's part of the way: bench_latency_window.
// Usage: bench_latency [steps] [steps per second]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "latency_rig.h"
#include "telehelm/ipc/control_client.h"
#include "telehelm/ipc/live.h"

namespace {

using namespace telehelm::bench;
using namespace telehelm::ipc;
using namespace std::chrono_literals;

/// Latencies of all points but those of the first steps, which warm the paths up; sorted, in milliseconds.
std::vector<double> measure(LiveSubscriber& subscriber, std::int64_t steps, double perSecond) {
    constexpr std::int64_t kWarmUp = 20;
    std::vector<double> latencies;
    const std::size_t expected = static_cast<std::size_t>(steps - kWarmUp) * kSeriesPerStep;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(static_cast<int>(static_cast<double>(steps) / perSecond) + 30);
    while (latencies.size() < expected && std::chrono::steady_clock::now() < until) {
        auto got = subscriber.receive(200);
        if (!got || !*got)
            continue;
        const std::int64_t now = nowUs();
        for (const SeriesBlock& block : (*got)->batch.series)
            for (const Point& point : block.points)
                if (point.step > kWarmUp)
                    latencies.push_back(static_cast<double>(now - point.wallUs) / 1000);
    }
    if (latencies.size() < expected)
        give("only " + std::to_string(latencies.size()) + " of " + std::to_string(expected) + " points came");
    std::sort(latencies.begin(), latencies.end());
    return latencies;
}

int bench(std::int64_t steps, double perSecond) {
    if (steps < 100 || perSecond <= 0)
        give("usage: bench_latency [steps, at least 100] [steps per second]");
    const DaemonRig daemon(steps, perSecond);
    const auto client = makeControlClient(daemon.control(), 30'000);
    const auto hello = client->hello(kProtocolVersion, "bench_latency");
    if (!hello)
        give(hello.error().text());
    auto subscriber = makeLiveSubscriber(hello->liveEndpoint);
    if (!subscriber)
        give(subscriber.error().text());
    for (int i = 0; i < 100 && !(*subscriber)->connected(); ++i)
        std::this_thread::sleep_for(50ms);
    if (const auto run = client->startRun(daemon.request()); !run)
        give(run.error().text());
    const auto ms = measure(**subscriber, steps, perSecond);
    std::printf("{\"bench\":\"latency\",\"path\":\"emit-daemon-subscriber\",\"points\":%zu,\"steps_per_s\":%g,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
                "\"max_ms\":%.3f}\n",
                ms.size(), perSecond, percentile(ms, 0.5), percentile(ms, 0.99), ms.back());
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    try {
        if (isTrainer(words))
            return train(words);
        return bench(argc > 1 ? std::atoll(argv[1]) : 1000, argc > 2 ? std::atof(argv[2]) : 100);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_latency: %s\n", error.what());
        return 1;
    }
}
