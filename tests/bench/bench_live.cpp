// SPDX-License-Identifier: Apache-2.0
// What a crowd costs: telehelmd with 1 and with 100 subscribers (half of them to one series of seven), ten of which never read. Prints
// the age of a message when a reader has it, and the daemon's share of a core. One JSON object a line.
//   bench_live [SUBSCRIBERS] [STEPS PER SECOND] [SECONDS]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>

#include <unistd.h>

#include "latency_rig.h"
#include "telehelm/ipc/control_client.h"
#include "telehelm/ipc/live.h"
#include "telehelm/ipc/news_ledger.h"

namespace telehelm::bench {
namespace {

using namespace telehelm::ipc;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kReaders = 2;

/// Seconds of CPU that a process has used.
double cpuSeconds(int pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    std::istringstream rest(text.substr(text.rfind(')') + 2));
    std::string word;
    double user = 0, system = 0;
    for (int field = 3; rest >> word; ++field) {
        if (field == 14)
            user = std::stod(word);
        if (field == 15)
            system = std::stod(word);
    }
    return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

struct Reader {
    std::unique_ptr<LiveSubscriber> subscriber;
    NewsLedger ledger;
    std::uint64_t points = 0, missed = 0;
};

/// Reads its part of the crowd until told to stop.
void readAll(std::vector<Reader*> readers, const std::atomic<bool>& stopping, std::vector<double>& lagsMs) {
    while (!stopping) {
        bool any = false;
        for (Reader* reader : readers)
            while (auto got = reader->subscriber->receive(0)) {
                if (!*got)
                    break;
                any = true;
                const News& news = **got;
                reader->missed += reader->ledger.see(news).missedPoints.value_or(0);
                reader->points += pointCount(news.batch);
                if (!news.batch.series.empty())
                    lagsMs.push_back(static_cast<double>(nowUs() - news.publishedUs) / 1000);
            }
        if (!any)
            std::this_thread::sleep_for(1ms);
    }
}

std::unique_ptr<LiveSubscriber> subscribe(const std::string& endpoint, const LiveSubscription& want) {
    auto made = makeLiveSubscriber(endpoint, want);
    if (!made)
        give(made.error().text());
    for (int i = 0; i < 200 && !(*made)->connected(); ++i)
        std::this_thread::sleep_for(10ms);
    return std::move(*made);
}

void bench(int count, int stalled, double perSecond, double seconds) {
    const auto steps = static_cast<std::int64_t>(perSecond * seconds);
    const DaemonRig daemon(steps, perSecond);
    const auto client = makeControlClient(daemon.control(), 30'000);
    const auto hello = client->hello(kProtocolVersion, "bench_live");
    if (!hello)
        give(hello.error().text());
    std::vector<Reader> readers(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < readers.size(); ++i)
        readers[i].subscriber = subscribe(hello->liveEndpoint, i % 2 == 0 ? LiveSubscription{} : LiveSubscription{"", {series::kTrainLoss}});
    std::vector<std::unique_ptr<LiveSubscriber>> sleepers;
    for (int i = 0; i < stalled; ++i)
        sleepers.push_back(subscribe(hello->liveEndpoint, {}));
    std::atomic<bool> stopping{false};
    std::vector<std::vector<double>> lags(kReaders);
    std::vector<std::thread> threads;
    for (std::size_t k = 0; k < kReaders; ++k) {
        std::vector<Reader*> part;
        for (std::size_t i = k; i < readers.size(); i += kReaders)
            part.push_back(&readers[i]);
        threads.emplace_back([part, &stopping, &mine = lags[k]] { readAll(part, stopping, mine); });
    }
    if (const auto run = client->startRun(daemon.request()); !run)
        give(run.error().text());
    const double cpuBefore = cpuSeconds(hello->pid);
    const auto began = Clock::now();
    const std::uint64_t wanted = static_cast<std::uint64_t>(steps) * kSeriesPerStep;
    while (Clock::now() - began < std::chrono::duration<double>(seconds * 3 + 30)) {
        const auto status = client->status();
        if (status && !status->runs.empty() && status->runs.front().published >= wanted)
            break;
        std::this_thread::sleep_for(200ms);
    }
    const double cpu = cpuSeconds(hello->pid) - cpuBefore, took = std::chrono::duration<double>(Clock::now() - began).count();
    std::this_thread::sleep_for(500ms);
    stopping = true;
    for (std::thread& thread : threads)
        thread.join();
    const auto status = client->status();
    std::vector<double> all;
    for (const auto& part : lags)
        all.insert(all.end(), part.begin(), part.end());
    if (all.empty())
        give("nothing came");
    std::sort(all.begin(), all.end());
    std::uint64_t missed = 0, complete = 0;
    for (std::size_t i = 0; i < readers.size(); ++i) {
        missed += readers[i].missed;
        complete += readers[i].points == (i % 2 == 0 ? wanted : static_cast<std::uint64_t>(steps)) ? 1 : 0;
    }
    std::printf("{\"bench\":\"live\",\"subscribers\":%d,\"never_reading\":%d,\"steps_per_s\":%g,\"points\":%llu,\"messages_received\":%zu,"
                "\"subscribers_with_every_point\":%llu,\"points_missed\":%llu,\"lag_p50_ms\":%.3f,\"lag_p99_ms\":%.3f,\"lag_max_ms\":%.3f,"
                "\"daemon_cpu_percent\":%.1f,\"daemon_resident_mb\":%.1f}\n",
                count, stalled, perSecond, static_cast<unsigned long long>(wanted), all.size(), static_cast<unsigned long long>(complete),
                static_cast<unsigned long long>(missed), percentile(all, 0.5), percentile(all, 0.99), all.back(), 100 * cpu / took,
                status ? static_cast<double>(status->residentBytes) / 1e6 : 0.0);
    std::fflush(stdout);
}

} // namespace
} // namespace telehelm::bench

int main(int argc, char** argv) {
    using namespace telehelm::bench;
    const std::vector<std::string> words(argv + 1, argv + argc);
    try {
        if (isTrainer(words))
            return train(words);
        const int crowd = argc > 1 ? std::atoi(argv[1]) : 100;
        const double perSecond = argc > 2 ? std::atof(argv[2]) : 100, seconds = argc > 3 ? std::atof(argv[3]) : 10;
        if (crowd < 1 || perSecond <= 0 || seconds < 1)
            give("usage: bench_live [subscribers] [steps per second] [seconds]");
        bench(1, 0, perSecond, seconds);
        bench(crowd, crowd / 10, perSecond, seconds);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_live: %s\n", error.what());
        return 1;
    }
}
