// SPDX-License-Identifier: Apache-2.0
#include "crash_feeder.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <thread>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "telehelm/ipc/trainer_link.h"

namespace telehelm::tests {

using namespace telehelm::ipc;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kBacklog = 400'000;    // points that may wait for acks at full speed; beyond, it emits at the pace of a fast trainer
constexpr std::size_t kMemoryPoints = 100'000; // so that much of the backlog goes through the spool file

std::uint64_t mixed(std::uint64_t value) { // splitmix64
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

double feedValue(std::uint64_t random) {
    switch (random % 61) {
    case 0: return std::bit_cast<double>(0x7ff8000000000000u | (random >> 20)); // a NaN with a payload
    case 1: return std::numeric_limits<double>::infinity();
    case 2: return -std::numeric_limits<double>::infinity();
    case 3: return -0.0;
    default: return 2.0 + static_cast<double>(random >> 11) * 0x1p-53;
    }
}

void report(const TrainerLink& link, FeedReport& to) {
    const LinkCounters counters = link.counters();
    to.emitted = counters.pointsEmitted;
    to.acked = counters.pointsAcked;
    to.spooled = counters.pointsSpooled;
    std::snprintf(to.problem, sizeof to.problem, "%s", counters.problem.c_str());
}

void emitAll(TrainerLink& link, FeedReport& told) {
    for (std::int64_t index = 0; told.stop == 0; ++index) {
        const auto start = std::chrono::steady_clock::now();
        for (int series = 0; series < kFeedSeries; ++series)
            link.emit(feedName(series).c_str(), feedPoint(series, index));
        const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count();
        told.longestEmitUs = std::max<std::uint64_t>(told.longestEmitUs, static_cast<std::uint64_t>(took));
        if (index % 16 != 15)
            continue;
        link.setProgress(index, index, "step");
        report(link, told);
        if (told.emitted - told.acked > kBacklog)
            std::this_thread::sleep_for(5ms);
        for (; told.stop == 0 && told.hold != 0; report(link, told))
            std::this_thread::sleep_for(2ms);
    }
}

} // namespace

std::string feedName(int series) { return "feed/" + std::to_string(series); }

Point feedPoint(int series, std::int64_t index) {
    const std::uint64_t random = mixed(static_cast<std::uint64_t>(index) * 1000 + static_cast<std::uint64_t>(series));
    Point point;
    point.step = index - (index % 997 == 0 ? index % 50 : 0); // now and then back, or the same again
    point.tokens = index * 4096 + static_cast<std::int64_t>(random % 7);
    point.wallUs = 1'700'000'000'000'000 + index * 1500 + static_cast<std::int64_t>(random % 300);
    point.value = feedValue(random);
    return point;
}

FeedReport* mapReport(const std::string& file) {
    const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, sizeof(FeedReport)) != 0)
        return nullptr;
    void* at = mmap(nullptr, sizeof(FeedReport), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? nullptr : static_cast<FeedReport*>(at); // a file of zeros is a report of zeros
}

bool isFeeder(const std::vector<std::string>& words) { return std::find(words.begin(), words.end(), "--link-file") != words.end(); }

int feed(const std::vector<std::string>& words) {
    const auto valueOf = [&](const std::string& option) {
        const auto at = std::find(words.begin(), words.end(), option);
        return at == words.end() || at + 1 == words.end() ? std::string() : *(at + 1);
    };
    const char* file = std::getenv(kFeedFileVariable);
    FeedReport* told = file != nullptr ? mapReport(file) : nullptr;
    if (told == nullptr)
        return 2;
    told->pid = static_cast<std::uint32_t>(getpid());
    TrainerLinkOptions options;
    options.endpointFile = valueOf("--link-file");
    options.key = {valueOf("--run"), static_cast<std::uint32_t>(std::atoi(valueOf("--attempt").c_str()))};
    options.spoolFile = std::filesystem::path(valueOf("--run-dir")) / "spool";
    options.pid = getpid();
    options.memoryPoints = kMemoryPoints;
    const auto link = makeTrainerLink(options);
    if (!link) {
        std::snprintf(told->problem, sizeof told->problem, "%s", link.error().text().c_str());
        return 3;
    }
    emitAll(**link, *told);
    Event ended;
    ended.kind = EventKind::AttemptEnded;
    ended.text = "All is emitted.";
    ended.facts["reason"] = "finished";
    (*link)->emit(ended);
    const bool isAcked = (*link)->flush(120'000);
    report(**link, *told);
    return isAcked ? 0 : 4;
}

} // namespace telehelm::tests
