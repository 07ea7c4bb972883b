// SPDX-License-Identifier: Apache-2.0
// How fast telehelm-rank trains one model on different meshes, one thread per rank, and what the plan foretold. One JSON object
// a line. `tokens_per_s` is the median of a job's steps, then of the rounds. Ratios are taken within a round, where a slow minute
// hits both sides, and their median over the rounds is told:
//   efficiency               tokens/s ÷ (ranks × tokens/s of one rank), where every rank has a core of its own
//   efficiency_fastest_step  the same of each job's fastest step: the ranks of a mesh must find all cores undisturbed at once for it
//   efficiency_side_by_side  tokens/s ÷ (ranks × tokens/s of the slowest of as many ranks alone that run at the same time): cores
//                            share caches, memory and power, so this is what the mesh itself costs
//   sgemm_efficiency         model FLOP/s ÷ what OpenBLAS reaches in the same run on the same products, as many of them side by
//                            side as there are ranks
// On a pure pipeline 1 − efficiency is the idle share as measured (messages included) next to the bubble as planned.
//   bench_parallel [--steps N] [--rounds R]      every mesh R times in turn; TELEHELM_BIN finds telehelm-rank
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "parallel/plan.h"
#include "shaped_sgemm.h"
#include "trainer_rig.h"

using namespace telehelm;
namespace fs = std::filesystem;

namespace {

struct Mesh {
    int tensor, pipeline, data, chunks;
    bool sequence;
    bool overlap = true; // false: one bucket of everything, reduced when the backward is over
    [[nodiscard]] int ranks() const { return tensor * pipeline * data; }
};

constexpr Mesh kMeshes[] = {{1, 1, 1, 1, false}, {1, 1, 2, 1, false}, {1, 1, 2, 1, false, false},
                            {2, 1, 1, 1, false}, {2, 1, 1, 1, true},  {1, 2, 1, 1, false}, {1, 2, 1, 2, false},
                            {2, 2, 1, 1, true},  {1, 2, 2, 1, false}, {2, 1, 2, 1, true}};

struct Options {
    int steps = 20, rounds = 5;
};

std::string configText(const Mesh& mesh, const fs::path& corpus, int steps) {
    const auto line = [](const char* key, int value) { return std::string(key) + " = " + std::to_string(value) + "\n"; };
    return "name = \"bench\"\n" + line("steps", steps) +
           "[model]\nlayers = 8\nhidden_size = 128\nattention_heads = 4\nffn_hidden_size = 344\nvocab_size = 272\n"
           "context_length = 128\nstandard_deviation = 0.02\nmatrix_standard_deviation = 0.02\n"
           "[batch]\nsequences = 16\nmicro_sequences = 2\n[validation]\nevery_steps = 0\n[checkpoint]\nevery_steps = "
           "0\n[parallel]\n" +
           (mesh.overlap ? "" : "bucket_bytes = 268435456\n") + line("tensor", mesh.tensor) + line("pipeline", mesh.pipeline) +
           line("data", mesh.data) + line("chunks", mesh.chunks) + "schedule = \"" + (mesh.chunks > 1 ? "interleaved" : "1f1b") + "\"\nsequence = " + (mesh.sequence ? "true" : "false") +
           "\n[data]\ncorpus = \"" + corpus.string() + "\"\n[data.mixture]\nWebText = 50.0\nCode = 30.0\nBook = 20.0\n";
}

std::string shellWord(std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
        out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    }
    return out + "'";
}

/// Of the steps after the first quarter, of several jobs at once as many times the slowest; empty with the last words of a job that
/// failed.
struct Speed {
    std::optional<double> tokensPerS; // median
    double fastestStep = 0;           // tokens/s
    std::string words;
};
struct Pipe {
    explicit Pipe(const std::string& command) : stream(popen((command + " 2>&1").c_str(), "r")) {}
    FILE* stream;
};
Speed finish(const Pipe& job, int steps) {
    if (job.stream == nullptr) {
        return {std::nullopt, 0, "cannot start a shell"};
    }
    std::vector<double> speeds;
    std::string last;
    for (std::array<char, 4096> line{}; fgets(line.data(), static_cast<int>(line.size()), job.stream) != nullptr;) {
        const std::string text(line.data());
        int step = 0;
        const std::size_t at = text.find("step "), unit = text.find(" tok/s");
        if (at != std::string::npos && unit != std::string::npos && std::sscanf(text.c_str() + at, "step %d/", &step) == 1) {
            if (step > steps / 4) {
                speeds.push_back(std::atof(text.c_str() + text.rfind(' ', unit - 1)));
            }
        } else if (text.find("[error]") != std::string::npos || last.empty()) {
            last = text.substr(0, text.find('\n'));
        }
    }
    const int status = pclose(job.stream);
    if (status != 0 || speeds.empty()) {
        return {std::nullopt, 0, last};
    }
    std::ranges::sort(speeds);
    return {speeds[speeds.size() / 2], speeds.back(), {}};
}
Speed train(const std::vector<std::string>& commands, int steps) {
    std::vector<Pipe> jobs(commands.begin(), commands.end());
    Speed slowest{INFINITY, INFINITY, {}};
    for (const Pipe& job : jobs) {
        const Speed one = finish(job, steps);
        if (!one.tokensPerS) {
            slowest = one;
        } else if (slowest.tokensPerS) {
            slowest = {std::min(*slowest.tokensPerS, *one.tokensPerS), std::min(slowest.fastestStep, one.fastestStep), {}};
        }
    }
    if (slowest.tokensPerS) {
        *slowest.tokensPerS *= static_cast<double>(jobs.size());
        slowest.fastestStep *= static_cast<double>(jobs.size());
    }
    return slowest;
}
std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        out += c == '"' || c == '\\'                  ? std::string{'\\', c}
               : static_cast<unsigned char>(c) < 0x20 ? std::string(" ")
                                                      : std::string(1, c);
    }
    return out;
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

/// By round; empty when a job failed.
using Speeds = std::vector<Speed>;

double medianOf(const Speeds& speeds, double (*figure)(const Speed&)) {
    std::vector<double> values;
    for (const Speed& speed : speeds) {
        values.push_back(figure(speed));
    }
    return median(values);
}
/// Median over the rounds of `a` ÷ `b`.
double medianRatio(const Speeds& a, const Speeds& b, double (*figure)(const Speed&)) {
    std::vector<double> ratios;
    for (std::size_t round = 0; round < a.size(); ++round) {
        ratios.push_back(figure(a[round]) / figure(b[round]));
    }
    return median(ratios);
}
double typical(const Speed& speed) { return *speed.tokensPerS; }
double fastest(const Speed& speed) { return speed.fastestStep; }

class Bench {
public:
    Bench(Options options, fs::path folder, fs::path program)
        : m_options(options), m_folder(std::move(folder)), m_program(std::move(program)) {
        tests::makeTinyCorpus(m_folder / "corpus");
    }

    int run() {
        const int cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
        for (int round = 0; round < m_options.rounds; ++round) { // in turn, so that a slow minute hits all alike
            for (std::size_t mesh = 0; mesh < std::size(kMeshes); ++mesh) {
                const int ranks = kMeshes[mesh].ranks();
                std::fprintf(stderr, "round %d of %d: tensor %d, pipeline %d, data %d\n", round + 1, m_options.rounds,
                             kMeshes[mesh].tensor, kMeshes[mesh].pipeline, kMeshes[mesh].data);
                keep(mesh, m_speeds, {command(mesh, std::to_string(round))});
                if (ranks > cpus) {
                    continue;
                }
                m_sgemm[mesh] = std::max(m_sgemm[mesh], sgemmGflops(kMeshes[mesh]));
                if (ranks > 1 && kMeshes[mesh].data == ranks) {
                    std::vector<std::string> alone;
                    for (int rank = 0; rank < ranks; ++rank) {
                        alone.push_back(command(0, std::to_string(round) + "-beside-" + std::to_string(mesh) + "-" + std::to_string(rank)));
                    }
                    keep(mesh, m_sideBySide, alone);
                }
            }
        }
        bool allRan = true;
        for (std::size_t mesh = 0; mesh < std::size(kMeshes); ++mesh) {
            allRan = print(mesh) && allRan;
        }
        std::fflush(stdout);
        std::fprintf(stderr, "\n%-34s %9s %11s %13s %14s %10s\n", "mesh", "tokens/s", "efficiency", "side by side", "bubble planned", "of sgemm");
        for (std::size_t mesh = 0; mesh < std::size(kMeshes); ++mesh) {
            printRow(mesh);
        }
        return allRan ? 0 : 1;
    }

private:
    using SpeedsByMesh = std::array<Speeds, std::size(kMeshes)>;

    void keep(std::size_t mesh, SpeedsByMesh& speeds, const std::vector<std::string>& commands) {
        Speed speed = train(commands, m_options.steps);
        if (speed.tokensPerS) {
            speeds[mesh].push_back(std::move(speed));
        } else {
            m_failures.insert_or_assign(mesh, speed.words);
        }
    }

    std::string command(std::size_t index, const std::string& name) {
        const Mesh& mesh = kMeshes[index];
        const fs::path run = m_folder / (std::to_string(index) + "-" + name);
        fs::create_directories(run);
        const fs::path config = run / "config.toml";
        std::ofstream(config) << configText(mesh, m_folder / "corpus", m_options.steps);
        std::string text =
            mesh.ranks() == 1 ? "" : "mpirun -np " + std::to_string(mesh.ranks()) + " --oversubscribe --bind-to none ";
        text += shellWord(m_program.string()) + " --config " + shellWord(config.string()) + " --offline --threads 1 --run-dir " +
                shellWord((run / "attempt-1").string());
        return text;
    }

    /// What is told of a mesh; empty: not measured, for there are more ranks than cores or a job failed.
    struct Figures {
        double tokensPerS = 0, fastestStep = 0;
        std::optional<double> bubblePlanned, efficiency, efficiencyFastestStep, besideTokensPerS, efficiencyBeside, sgemmEfficiency;
    };
    Figures figuresOf(std::size_t index) const {
        const Mesh& mesh = kMeshes[index];
        const Speeds &speeds = m_speeds[index], &alone = m_speeds[0], &beside = m_sideBySide[index];
        Figures figures;
        figures.tokensPerS = medianOf(speeds, typical);
        figures.fastestStep = medianOf(speeds, fastest);
        if (const auto plan = planOf(mesh)) {
            figures.bubblePlanned = plan->bubbleShare;
        }
        if (mesh.ranks() > 1 && mesh.ranks() <= sysconf(_SC_NPROCESSORS_ONLN) && alone.size() == speeds.size()) {
            figures.efficiency = medianRatio(speeds, alone, typical) / mesh.ranks();
            figures.efficiencyFastestStep = medianRatio(speeds, alone, fastest) / mesh.ranks();
            if (beside.size() == speeds.size()) {
                figures.besideTokensPerS = medianOf(beside, typical);
                figures.efficiencyBeside = medianRatio(speeds, beside, typical);
            }
        }
        if (const auto config = configOf(mesh); config && m_sgemm[index] > 0) {
            figures.sgemmEfficiency = figures.tokensPerS * config->model.flopsPerToken() * 1e-9 / m_sgemm[index];
        }
        return figures;
    }

    /// For people.
    void printRow(std::size_t index) const {
        const Mesh& mesh = kMeshes[index];
        const std::string name = "T" + std::to_string(mesh.tensor) + " P" + std::to_string(mesh.pipeline) + " D" + std::to_string(mesh.data) +
                                 (mesh.sequence ? ", sequence" : "") + (mesh.chunks > 1 ? ", " + std::to_string(mesh.chunks) + " chunks" : "") +
                                 (mesh.overlap ? "" : ", one bucket");
        if (const auto failure = m_failures.find(index); failure != m_failures.end()) {
            std::fprintf(stderr, "%-34s failed: %s\n", name.c_str(), failure->second.c_str());
            return;
        }
        const auto share = [](const std::optional<double>& value) {
            std::array<char, 16> text{};
            std::snprintf(text.data(), text.size(), "%.1f %%", 100 * value.value_or(0));
            return std::string(value ? text.data() : "-");
        };
        const Figures figures = figuresOf(index);
        std::fprintf(stderr, "%-34s %9.0f %11s %13s %14s %10s\n", name.c_str(), figures.tokensPerS, share(figures.efficiency).c_str(),
                     share(figures.efficiencyBeside).c_str(), share(figures.bubblePlanned).c_str(), share(figures.sgemmEfficiency).c_str());
    }

    bool print(std::size_t index) const {
        const Mesh& mesh = kMeshes[index];
        std::printf(
            R"({"bench":"parallel","tensor":%d,"pipeline":%d,"data":%d,"ranks":%d,"sequence":%s,"schedule":"%s","chunks":%d,"overlap":%s)",
            mesh.tensor, mesh.pipeline, mesh.data, mesh.ranks(), mesh.sequence ? "true" : "false",
            mesh.chunks > 1 ? "interleaved" : "1f1b", mesh.chunks, mesh.overlap ? "true" : "false");
        if (const auto failure = m_failures.find(index); failure != m_failures.end()) {
            std::printf(R"(,"error":"%s"})"
                        "\n",
                        escaped(failure->second).c_str());
            return false;
        }
        const Figures figures = figuresOf(index);
        std::printf(R"(,"tokens_per_s":%.0f,"fastest_step_tokens_per_s":%.0f)", figures.tokensPerS, figures.fastestStep);
        if (figures.bubblePlanned) {
            std::printf(R"(,"bubble_planned":%.4f)", *figures.bubblePlanned);
        }
        if (figures.efficiency) {
            std::printf(R"(,"efficiency":%.4f,"efficiency_fastest_step":%.4f)", *figures.efficiency, *figures.efficiencyFastestStep);
        }
        if (figures.efficiencyBeside) {
            std::printf(R"(,"side_by_side_tokens_per_s":%.0f,"efficiency_side_by_side":%.4f)", *figures.besideTokensPerS,
                        *figures.efficiencyBeside);
        }
        if (figures.efficiency && mesh.pipeline == mesh.ranks()) {
            std::printf(R"(,"idle_measured":%.4f)", 1 - *figures.efficiency);
        }
        if (figures.sgemmEfficiency) {
            std::printf(R"(,"sgemm_same_shapes_gflops":%.1f,"sgemm_efficiency":%.4f)", m_sgemm[index], *figures.sgemmEfficiency);
        }
        std::printf("}\n");
        return true;
    }

    /// All ranks' products at once.
    double sgemmGflops(const Mesh& mesh) const {
        const auto config = configOf(mesh);
        if (!config) {
            return 0;
        }
        const double parts = mesh.pipeline;
        const auto products = bench::productsOf(config->model, config->microSequences() * config->model.contextLength, mesh.tensor,
                                                static_cast<double>(config->model.layers) / parts, 1 / parts);
        return bench::shapedSgemmGflops(products, mesh.ranks(), 1, 0.3);
    }

    Result<config::RunConfig> configOf(const Mesh& mesh) const {
        return config::parseRunConfig(configText(mesh, m_folder / "corpus", m_options.steps), "bench");
    }
    Result<parallel::Plan> planOf(const Mesh& mesh) const {
        const auto config = configOf(mesh);
        return config ? parallel::makePlan(*config) : tl::unexpected(config.error());
    }

    Options m_options;
    fs::path m_folder, m_program;
    SpeedsByMesh m_speeds;                            // the first one is a rank alone
    SpeedsByMesh m_sideBySide;                        // as many ranks alone as the mesh has, each a job of its own
    std::array<double, std::size(kMeshes)> m_sgemm{}; // GFLOP/s, where every rank has a core
    std::map<std::size_t, std::string> m_failures;    // by mesh: the last words of a job that failed
};

std::optional<Options> parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view flag = argv[i];
        int* value = flag == "--steps" ? &options.steps : flag == "--rounds" ? &options.rounds : nullptr;
        if (value == nullptr || (*value = std::atoi(argv[i + 1])) < 1) {
            return std::nullopt;
        }
    }
    return argc % 2 == 1 ? std::optional(options) : std::nullopt;
}

} // namespace

int main(int argc, char** argv) {
    const auto options = parse(argc, argv);
    if (!options) {
        std::fprintf(stderr, "usage: bench_parallel [--steps N] [--rounds R]\n");
        return 2;
    }
    const char* bin = std::getenv("TELEHELM_BIN");
    const fs::path folder = bin != nullptr ? fs::path(bin) : fs::read_symlink("/proc/self/exe").parent_path();
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    std::string scratch = (fs::temp_directory_path() / "bench-parallel-XXXXXX").string();
    if (mkdtemp(scratch.data()) == nullptr) {
        std::perror("bench_parallel: a folder for its runs");
        return 1;
    }
    const int status = Bench(*options, scratch, folder / "telehelm-rank").run();
    fs::remove_all(scratch);
    return status;
}
