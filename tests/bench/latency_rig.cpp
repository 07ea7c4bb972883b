// SPDX-License-Identifier: Apache-2.0
#include "latency_rig.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "telehelm/ipc/trainer_link.h"

namespace telehelm::bench {

using namespace telehelm::ipc;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

constexpr const char* kSeries[] = {series::kTrainLoss, series::kGradNorm,   series::kLearningRate, series::kMatrixLearningRate,
                                   series::kStepMs,    series::kTokensPerS, series::kMfu};

constexpr const char* kStepsVariable = "TELEHELM_BENCH_STEPS";
constexpr const char* kPaceVariable = "TELEHELM_BENCH_PACE";

void emitStep(TrainerLink& link, std::int64_t step) {
    for (const char* name : kSeries)
        link.emit(name, {step, step * 2048, nowUs(), 1.0 / static_cast<double>(step)});
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

fs::path findDaemon() {
    const char* bin = std::getenv("TELEHELM_BIN");
    fs::path program = bin != nullptr ? fs::path(bin) / "telehelmd" : fs::read_symlink("/proc/self/exe").parent_path() / "telehelmd";
    if (access(program.c_str(), X_OK) != 0)
        give(program.string() + " is missing; build telehelmd, or name its folder in TELEHELM_BIN");
    return program;
}

} // namespace

void give(const std::string& why) {
    throw std::runtime_error(why);
}

double percentile(const std::vector<double>& sorted, double share) {
    return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

DaemonRig::DaemonRig(std::int64_t steps, double perSecond) {
    setenv(kStepsVariable, std::to_string(steps).c_str(), 1);
    setenv(kPaceVariable, std::to_string(perSecond).c_str(), 1);
    launch(findDaemon());
}

DaemonRig::~DaemonRig() {
    end();
}

void DaemonRig::launch(const fs::path& program) {
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
    if (at == std::string::npos) {
        end();
        give("telehelmd did not start");
    }
    m_control = text.substr(at, text.find('"', at) - at);
}

void DaemonRig::end() {
    kill(m_pid, SIGTERM);
    waitpid(m_pid, nullptr, 0);
    std::error_code ignored; // an orphaned trainer may still write there
    fs::remove_all(m_state, ignored);
}

StartRequest DaemonRig::request() const {
    fs::create_directories(m_state / "corpus");
    std::ofstream(m_state / "corpus/manifest.json") << R"({"format":1,"domains":[{"name":"WebText","languages":"en","train":{"tokens":1000},"valid":{"tokens":10}}]})";
    StartRequest start;
    start.configToml = kConfig;
    start.configToml.replace(start.configToml.find("@CORPUS@"), 8, (m_state / "corpus").string());
    start.configPath = "bench.toml";
    start.author = "bench";
    start.commandId = newUuid();
    return start;
}

bool isTrainer(const std::vector<std::string>& words) {
    return std::find(words.begin(), words.end(), "--link-file") != words.end();
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

} // namespace telehelm::bench
