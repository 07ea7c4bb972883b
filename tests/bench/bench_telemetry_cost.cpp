// SPDX-License-Identifier: Apache-2.0
// What telemetry costs the trainer: the step time with it on ÷ off, in one training, in alternating blocks of steps (on off off on …), so that
// what else the machine does falls on both. The link is the real one, to a real telehelmd on this machine that stores every point.
// One JSON line. `ratio`: wall time, median over pairs of blocks; `cpu_ratio`: CPU time of the trainer's thread, which other programs disturb
// less; `link_share`: time inside the link's calls ÷ step time. Every fifth block is only watched: does a call into the link ever sleep?
// Usage: bench_telemetry_cost [seconds]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include <csignal>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"
#include "trainer_rig.h"

namespace {

using namespace telehelm;
using namespace telehelm::ipc;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kBlock = 4; // measured steps; the one before them is let pass
enum class Phase { On, Off, Watched };
constexpr Phase kCycle[] = {Phase::On, Phase::Off, Phase::Off, Phase::On, Phase::Watched};

template <typename T>
T must(Result<T> result) {
    if (!result)
        throw std::runtime_error(result.error().text());
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

double threadCpuS() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

long sleeps() {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

/// The real link, or nothing, as the phase has it.
class SwitchedLink final : public TrainerLink {
public:
    explicit SwitchedLink(TrainerLink& link) : m_link(link) {}
    void emit(const char* series, const Point& point) override { call([&] { m_link.emit(series, point); }, 1); }
    void emit(Event event) override { m_link.emit(std::move(event)); }
    void emit(CommandOutcome outcome) override { m_link.emit(std::move(outcome)); }
    void setProgress(std::int64_t step, std::int64_t tokens, const std::string& phase) override {
        call([&] { m_link.setProgress(step, tokens, phase); }, 0);
    }
    std::vector<Command> takeCommands() override {
        std::vector<Command> commands;
        call([&] { commands = m_link.takeCommands(); }, 0);
        return commands;
    }
    bool flush(int timeoutMs) override { return m_link.flush(timeoutMs); }
    [[nodiscard]] LinkCounters counters() const override { return m_link.counters(); }

    Phase phase = Phase::Off;
    double watchedS = 0, longestS = 0; // inside the link's calls, in watched blocks
    long watchedPoints = 0, sleptCalls = 0;

private:
    template <typename Call>
    void call(const Call& work, int points) {
        if (phase == Phase::Off)
            return;
        if (phase == Phase::On)
            return work();
        const long before = sleeps();
        const auto start = Clock::now();
        work();
        const double took = std::chrono::duration<double>(Clock::now() - start).count();
        sleptCalls += sleeps() != before ? 1 : 0;
        watchedS += took;
        longestS = std::max(longestS, took);
        watchedPoints += points;
    }
    TrainerLink& m_link;
};

/// Divides the training's steps into blocks.
class Blocks {
public:
    struct Block {
        Phase phase = Phase::Off;
        double wallS = 0, cpuS = 0;
    };
    explicit Blocks(SwitchedLink& link) : m_link(link) { m_link.phase = kCycle[0]; }
    void onStep() {
        const auto now = Clock::now();
        const double cpu = threadCpuS();
        if (m_inBlock == 1) { // the first step after a switch has passed
            m_start = now;
            m_startCpu = cpu;
        } else if (m_inBlock == 1 + kBlock) {
            all.push_back({m_link.phase, std::chrono::duration<double>(now - m_start).count(), cpu - m_startCpu});
            m_link.phase = kCycle[all.size() % std::size(kCycle)];
            m_inBlock = 0;
        }
        ++m_inBlock;
    }
    std::vector<Block> all;

private:
    SwitchedLink& m_link;
    int m_inBlock = 0;
    Clock::time_point m_start;
    double m_startCpu = 0;
};

struct Estimate {
    double median = 0, low = 0, high = 0; // with the 95 % interval of the median, by ranks
};
Estimate estimate(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const double n = static_cast<double>(values.size()), half = 0.98 * std::sqrt(n); // 1.96 · √n / 2
    const auto at = [&](double rank) { return values[static_cast<std::size_t>(std::clamp(rank, 0.0, n - 1))]; };
    return {at(n / 2), at(n / 2 - half), at(n / 2 + half)};
}

/// Each cycle has two pairs: on/off and, reversed, off/on.
Estimate ratio(const std::vector<Blocks::Block>& blocks, double Blocks::Block::*time) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i + 3 < blocks.size(); i += std::size(kCycle)) {
        ratios.push_back(blocks[i].*time / (blocks[i + 1].*time));
        ratios.push_back(blocks[i + 3].*time / (blocks[i + 2].*time));
    }
    return estimate(std::move(ratios));
}

double stepS(const std::vector<Blocks::Block>& blocks, Phase phase) {
    std::vector<double> times;
    for (const Blocks::Block& block : blocks)
        if (block.phase == phase)
            times.push_back(block.wallS / kBlock);
    return estimate(std::move(times)).median;
}

/// telehelmd on a state folder in which the run is known already.
class Daemon {
public:
    explicit Daemon(const fs::path& state) {
        {
            auto store = must(store::Store::open(state / "telehelm.db"));
            must(store->addRun({"cost", "", nowUs(), ""}));
            AttemptInfo attempt;
            attempt.key = {"cost", 1};
            attempt.state = AttemptState::Stopped; // not one to supervise
            must(store->addAttempt(attempt));
        }
        const char* bin = std::getenv("TELEHELM_BIN");
        const std::string program = (bin != nullptr ? fs::path(bin) : fs::read_symlink("/proc/self/exe").parent_path()) / "telehelmd";
        const std::string log = state / "log", folder = state;
        m_pid = fork();
        if (m_pid == 0) {
            const int fd = open(log.c_str(), O_WRONLY | O_CREAT, 0644);
            dup2(fd, 1);
            dup2(fd, 2);
            execl(program.c_str(), program.c_str(), "--state-dir", folder.c_str(), "--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*",
                  static_cast<char*>(nullptr));
            _exit(127);
        }
        for (int i = 0; i < 400 && !fs::exists(state / "daemon.json"); ++i)
            std::this_thread::sleep_for(50ms);
    }
    ~Daemon() {
        kill(m_pid, SIGTERM);
        waitpid(m_pid, nullptr, 0);
    }
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

private:
    pid_t m_pid = -1;
};

config::RunConfig modelConfig(const fs::path& corpus) {
    config::RunConfig config = tests::parsed(tests::tinyConfig(corpus));
    config.steps = 1'000'000;
    config.model.layers = 4;
    config.model.hiddenSize = 128;
    config.model.ffnHiddenSize = 344;
    config.model.contextLength = 128;
    config.batch.sequences = config.batch.microSequences = 4;
    config.validation.everySteps = 0;
    config.checkpoint.everySteps = 0;
    return config;
}

void train(const config::RunConfig& config, const fs::path& folder, SwitchedLink& link, Blocks& blocks, double seconds) {
    const auto world = comm::makeSelfCommunicator();
    const parallel::Mesh mesh(*parallel::MeshShape::make(config.parallel, 1), *world);
    const std::shared_ptr<const data::Corpus> corpus = must(data::openCorpus(config.data.corpus));
    const auto until = Clock::now() + std::chrono::duration<double>(seconds);
    train::TrainerOptions options;
    options.config = config;
    options.key = {"cost", 1};
    options.checkpointDir = folder / "checkpoints";
    options.calibrate = false;
    options.stopRequested = [&] { return Clock::now() > until; };
    options.onStep = [&](const train::StepFacts&) { blocks.onStep(); };
    auto trainer = train::Trainer::start(options, mesh, corpus, &link);
    if (!trainer)
        throw std::runtime_error(trainer.error().error.text());
    (void)(*trainer)->run();
}

void bench(const fs::path& folder, double seconds) {
    tests::makeTinyCorpus(folder / "corpus");
    fs::create_directories(folder / "state");
    const Daemon daemon(folder / "state");
    TrainerLinkOptions options;
    options.endpointFile = folder / "state/link-endpoint";
    options.key = {"cost", 1};
    options.spoolFile = folder / "spool";
    const auto real = must(makeTrainerLink(options));
    for (int i = 0; i < 200 && !real->counters().connected; ++i)
        std::this_thread::sleep_for(50ms);
    SwitchedLink link(*real);
    Blocks blocks(link);
    train(modelConfig(folder / "corpus"), folder, link, blocks, seconds);
    if (blocks.all.size() < 2 * std::size(kCycle))
        throw std::runtime_error("too few steps; give it more seconds");
    if (!real->flush(30'000))
        throw std::runtime_error("not every point was acked: " + real->counters().problem);
    const LinkCounters counters = real->counters();
    const Estimate wall = ratio(blocks.all, &Blocks::Block::wallS), cpu = ratio(blocks.all, &Blocks::Block::cpuS);
    const auto watched = static_cast<double>(std::count_if(blocks.all.begin(), blocks.all.end(), [](const auto& b) { return b.phase == Phase::Watched; })) * (kBlock + 1);
    double load = 0;
    getloadavg(&load, 1);
    std::printf("{\"bench\":\"telemetry_cost\",\"model\":\"L4 C128 H2 F344 T128 B4\",\"threads\":1,\"pairs\":%zu,\"steps_per_block\":%d,"
                "\"step_ms_on\":%.3f,\"step_ms_off\":%.3f,\"ratio\":%.5f,\"ratio_ci95\":[%.5f,%.5f],\"cpu_ratio\":%.5f,\"cpu_ratio_ci95\":[%.5f,%.5f],"
                "\"link_us_per_step\":%.2f,\"link_share\":%.6f,\"longest_call_us\":%.1f,\"points_per_step\":%.1f,\"blocked_sends\":%ld,"
                "\"points_emitted\":%llu,\"points_acked\":%llu,\"load\":%.1f}\n",
                blocks.all.size() / std::size(kCycle) * 2, kBlock, stepS(blocks.all, Phase::On) * 1e3, stepS(blocks.all, Phase::Off) * 1e3, wall.median,
                wall.low, wall.high, cpu.median, cpu.low, cpu.high, link.watchedS / watched * 1e6, link.watchedS / watched / stepS(blocks.all, Phase::Off),
                link.longestS * 1e6, static_cast<double>(link.watchedPoints) / watched, link.sleptCalls,
                static_cast<unsigned long long>(counters.pointsEmitted), static_cast<unsigned long long>(counters.pointsAcked), load);
}

} // namespace

int main(int argc, char** argv) {
    const double seconds = argc > 1 ? std::atof(argv[1]) : 60;
    if (argc > 2 || seconds <= 0) {
        std::fputs("bench_telemetry_cost [seconds]: step time with telemetry on over off\n", stderr);
        return 2;
    }
    std::string scratch = (fs::temp_directory_path() / "bench-telemetry-XXXXXX").string();
    if (mkdtemp(scratch.data()) == nullptr) {
        std::perror("bench_telemetry_cost: a folder");
        return 1;
    }
    int status = 0;
    try {
        bench(scratch, seconds);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_telemetry_cost: %s\n", error.what());
        status = 1;
    }
    fs::remove_all(scratch);
    return status;
}
