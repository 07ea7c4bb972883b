// SPDX-License-Identifier: Apache-2.0
// How old a point is when a subscriber has it: TrainerLink::emit → telehelmd (stored) → LiveSubscriber. The daemon is a real
// one in a state folder of its own; it launches this same program as its trainer, which emits through the real link at a set
// pace instead of training. One JSON line; latencies in milliseconds. Usage: bench_latency [steps] [steps per second]
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "telehelm/ipc/control_client.h"
#include "telehelm/ipc/live.h"
#include "telehelm/ipc/trainer_link.h"

namespace {

using namespace telehelm;
using namespace telehelm::ipc;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr const char* kSeries[] = {series::kTrainLoss, series::kGradNorm,   series::kLearningRate, series::kMatrixLearningRate,
                                   series::kStepMs,    series::kTokensPerS, series::kMfu};

constexpr const char* kStepsVariable = "TELEHELM_BENCH_STEPS";
constexpr const char* kPaceVariable = "TELEHELM_BENCH_PACE";

[[noreturn]] void give(const std::string& why) {
    throw std::runtime_error(why); // so that the daemon is ended on the way out
}

/// telehelmd on free ports; ended and cleaned up with the object.
class Daemon {
public:
    explicit Daemon(const fs::path& program) {
        char pattern[] = "/tmp/telehelm-bench-XXXXXX";
        m_state = mkdtemp(pattern);
        // The daemon looks for telehelm-rank beside itself and must find this program there.
        fs::create_directories(m_state / "bin");
        fs::copy_file(program, m_state / "bin/telehelmd");
        fs::copy_file(fs::read_symlink("/proc/self/exe"), m_state / "bin/telehelm-rank");
        const std::string copy = m_state / "bin/telehelmd";
        const std::string state = m_state.string(), log = (m_state / "log").string();
        m_pid = fork();
        if (m_pid == 0) {
            const int fd = open(log.c_str(), O_WRONLY | O_CREAT, 0644);
            dup2(fd, 1);
            dup2(fd, 2);
            execl(copy.c_str(), copy.c_str(), "--state-dir", state.c_str(), "--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*",
                  static_cast<char*>(nullptr));
            _exit(127);
        }
        for (int i = 0; i < 400 && !fs::exists(m_state / "daemon.json"); ++i)
            std::this_thread::sleep_for(50ms);
        std::ifstream card(m_state / "daemon.json");
        const std::string text((std::istreambuf_iterator<char>(card)), {});
        const auto at = text.find("127.0.0.1:", text.find("\"control\""));
        if (at == std::string::npos)
            {
            end();
            give("telehelmd did not start");
        }
        m_control = text.substr(at, text.find('"', at) - at);
    }
    ~Daemon() { end(); }
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    [[nodiscard]] const fs::path& state() const { return m_state; }
    [[nodiscard]] const std::string& control() const { return m_control; }

private:
    void end() {
        kill(m_pid, SIGTERM);
        waitpid(m_pid, nullptr, 0);
        std::error_code ignored; // an orphaned trainer may still write there
        fs::remove_all(m_state, ignored);
    }
    fs::path m_state;
    std::string m_control;
    pid_t m_pid = -1;
};

void emitStep(TrainerLink& link, std::int64_t step) {
    for (const char* name : kSeries)
        link.emit(name, {step, step * 2048, nowUs(), 1.0 / static_cast<double>(step)});
}

double percentile(const std::vector<double>& sorted, double share) {
    return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

/// The trainer's part: `telehelm-rank --run R --attempt N --run-dir D --link-file F …` emits steps at a pace and ends.
int train(const std::vector<std::string>& words) {
    const auto valueOf = [&](const std::string& option) {
        const auto at = std::find(words.begin(), words.end(), option);
        return at == words.end() || at + 1 == words.end() ? std::string() : *(at + 1);
    };
    TrainerLinkOptions options;
    options.endpointFile = valueOf("--link-file");
    options.key = {valueOf("--run"), static_cast<std::uint32_t>(std::atoi(valueOf("--attempt").c_str()))};
    options.spoolFile = fs::path(valueOf("--run-dir")) / "spool";
    options.pid = getpid();
    const auto link = makeTrainerLink(options);
    if (!link)
        give(link.error().text());
    for (int i = 0; i < 200 && !(*link)->counters().connected; ++i)
        std::this_thread::sleep_for(50ms);
    const std::int64_t steps = std::atoll(std::getenv(kStepsVariable));
    const double perSecond = std::atof(std::getenv(kPaceVariable));
    auto next = std::chrono::steady_clock::now();
    for (std::int64_t step = 1; step <= steps; ++step) {
        emitStep(**link, step);
        next += std::chrono::microseconds(static_cast<std::int64_t>(1e6 / perSecond));
        std::this_thread::sleep_until(next);
    }
    Event ended;
    ended.kind = EventKind::AttemptEnded;
    ended.text = "All steps emitted.";
    ended.facts["reason"] = "finished";
    (*link)->emit(ended);
    return (*link)->flush(20'000) ? 0 : 1;
}

constexpr const char* kConfig = R"(name = "bench"
steps = 1000000
[model]
layers = 1
hidden_size = 8
attention_heads = 1
ffn_hidden_size = 8
vocab_size = 272
context_length = 8
[batch]
sequences = 1
[data]
corpus = "@CORPUS@"
[data.mixture]
WebText = 100.0
)";

/// A config that the daemon accepts, with a corpus that is a manifest alone: nothing is trained here.
StartRequest request(const fs::path& folder) {
    fs::create_directories(folder / "corpus");
    std::ofstream(folder / "corpus/manifest.json") << R"({"format":1,"domains":[{"name":"WebText","languages":"en","train":{"tokens":1000},"valid":{"tokens":10}}]})";
    StartRequest start;
    start.configToml = kConfig;
    start.configToml.replace(start.configToml.find("@CORPUS@"), 8, (folder / "corpus").string());
    start.configPath = "bench.toml";
    start.author = "bench";
    start.commandId = newUuid();
    return start;
}

/// Latencies of all points but those of the first steps, which warm the paths up; sorted, in milliseconds.
std::vector<double> measure(LiveSubscriber& subscriber, std::int64_t steps, double perSecond) {
    constexpr std::int64_t kWarmUp = 20;
    std::vector<double> latencies;
    const std::size_t expected = static_cast<std::size_t>(steps - kWarmUp) * std::size(kSeries);
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
    setenv(kStepsVariable, std::to_string(steps).c_str(), 1);
    setenv(kPaceVariable, std::to_string(perSecond).c_str(), 1);
    const char* bin = std::getenv("TELEHELM_BIN");
    const fs::path program = bin != nullptr ? fs::path(bin) / "telehelmd" : fs::read_symlink("/proc/self/exe").parent_path() / "telehelmd";
    if (access(program.c_str(), X_OK) != 0)
        give(program.string() + " is missing; build telehelmd, or name its folder in TELEHELM_BIN");
    const Daemon daemon(program);
    const auto client = makeControlClient(daemon.control(), 30'000);
    const auto hello = client->hello(kProtocolVersion, "bench_latency");
    if (!hello)
        give(hello.error().text());
    auto subscriber = makeLiveSubscriber(hello->liveEndpoint);
    if (!subscriber)
        give(subscriber.error().text());
    for (int i = 0; i < 100 && !(*subscriber)->connected(); ++i)
        std::this_thread::sleep_for(50ms);
    if (const auto run = client->startRun(request(daemon.state())); !run)
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
        if (std::find(words.begin(), words.end(), "--link-file") != words.end())
            return train(words);
        return bench(argc > 1 ? std::atoll(argv[1]) : 1000, argc > 2 ? std::atof(argv[2]) : 100);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_latency: %s\n", error.what());
        return 1;
    }
}
