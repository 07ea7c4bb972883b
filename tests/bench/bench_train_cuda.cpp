// SPDX-License-Identifier: Apache-2.0
// How fast a CUDA device trains, bf16, random data: whole steps (gradients cleared, forward, backward, norm, AdamW) of three
// models, the floors that the card's measured ceilings leave, and a torch.compile model of the same shape in the same call.
//   bench_train_cuda [--only NAME] [--steps N] [--layers L] [--no-torch] [--torch-peer FILE]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cuda_bench.h"
#include "model/cuda_model.h"
#include "model/device_state.h"
#include "silent_communicator.h"
#include "train_cases.h"

using namespace telehelm;
using namespace telehelm::bench;
using Clock = std::chrono::steady_clock;

namespace {

struct Options {
    std::string only;
    int steps = 30;
    std::int64_t layers = 0; // 0: as the case says, or as many as fit
    bool torch = true;
    std::string peer;
};

/// One optimizer step at a time on random tokens. The rank slice has no optimizer: its shard of it is 1/112 of the weights.
class Trainer {
public:
    Trainer(const TrainCase& shape, std::int64_t layers)
        : m_case(shape), m_silent(shape.tensor), m_model(make(layers)), m_state(*m_model->device()),
          m_inputs(hostTokens(shape.tokensPerStep(), shape.vocab, 1)),
          m_targets(hostTokens(shape.tokensPerStep(), shape.vocab, 2)) {
        for (const model::ParameterInfo& weight : m_model->layout()) {
            m_parameters = std::max(m_parameters, weight.offset + weight.size);
            fill(weight);
        }
        if (shape.hasOptimizer) {
            m_state.makeMoments();
        }
        m_state.keepNats(true); // as the trainer does
    }
    /// The mean loss.
    double step() {
        m_state.clearGradients();
        const auto micro = static_cast<std::size_t>(m_case.microBatch * m_case.length);
        for (std::size_t from = 0; from < m_inputs.size(); from += micro) {
            m_model->trainMicroBatch(std::span(m_inputs).subspan(from, micro), std::span(m_targets).subspan(from, micro),
                                     1.0F / static_cast<float>(m_inputs.size()));
        }
        if (m_case.hasOptimizer) {
            const double norm = std::sqrt(m_state.gradientSquares(0, m_parameters));
            update(static_cast<float>(norm > 1 ? 1 / norm : 1));
        }
        const double nats = m_state.takeNats();
        m_state.stream().synchronize();
        return nats / static_cast<double>(m_inputs.size());
    }
    [[nodiscard]] std::size_t activationBytes() const { return m_model->activationBytes(); }

private:
    std::unique_ptr<model::Model> make(std::int64_t layers) {
        model::Placement placement;
        model::CudaOptions options;
        if (m_case.tensor > 1) {
            placement.parallel.tensor = m_case.tensor;
            options.tensor = &m_silent;
        }
        return model::makeCudaModel(m_case.shape(layers), m_case.microBatch, placement, options);
    }
    /// Normal numbers, 0.02, again and again; norms are 1. Model::initialise draws each of billions on the host.
    void fill(const model::ParameterInfo& weight) {
        const std::vector<float> ones(static_cast<std::size_t>(weight.shape.size() == 1 ? weight.size : 0), 1.0F);
        const std::span<const float> values = ones.empty() ? std::span<const float>(m_normals) : std::span<const float>(ones);
        for (std::int64_t at = 0; at < weight.size;) {
            const std::int64_t count = std::min(weight.size - at, std::ssize(values));
            m_state.upload(model::DeviceState::Buffer::Parameters, weight.offset + at,
                           values.first(static_cast<std::size_t>(count)));
            at += count;
        }
    }
    void update(float clip) {
        ++m_steps;
        const auto correction = [&](double beta) { return static_cast<float>(1 / (1 - std::pow(beta, m_steps))); };
        m_updates.clear();
        for (const model::ParameterInfo& weight : m_model->layout()) {
            m_updates.push_back({weight.offset,
                                 weight.offset + weight.size,
                                 {.rate = 1e-4F,
                                  .decay = 0.0F,
                                  .beta1 = 0.9F,
                                  .beta2 = 0.95F,
                                  .epsilon = 1e-8F,
                                  .firstCorrection = correction(0.9),
                                  .secondCorrection = correction(0.95),
                                  .gradScale = clip}});
        }
        m_state.adamw(m_updates);
    }

    const TrainCase& m_case;
    SilentDeviceCommunicator m_silent;
    std::unique_ptr<model::Model> m_model;
    model::DeviceState& m_state;
    std::vector<float> m_normals = normals(0.02F);
    std::vector<std::int32_t> m_inputs, m_targets;
    std::vector<model::DeviceState::Update> m_updates;
    std::int64_t m_parameters = 0;
    int m_steps = 0;
};

/// The deepest model that the memory takes, down from the case's own depth. What does not fit is told by the allocation that
/// fails.
struct Built {
    std::unique_ptr<Trainer> trainer;
    std::int64_t layers = 0;
    std::string why;
};
Built build(const TrainCase& shape, std::int64_t asked) {
    Built built;
    for (std::int64_t layers = asked > 0 ? asked : shape.layers; layers > 0; layers -= 2) {
        try {
            if (shape.bytesNeeded(layers) > static_cast<double>(kernels::cuda::memoryInfo().freeBytes)) {
                built.why =
                    std::to_string(layers) + " layers need about " + std::to_string(shape.bytesNeeded(layers) * 1e-9) + " GB";
            } else {
                built.trainer = std::make_unique<Trainer>(shape, layers);
                built.layers = layers;
                return built;
            }
        } catch (const std::runtime_error& error) {
            built.why = error.what();
            if (built.why.find("memory") == std::string::npos) {
                return built;
            }
        }
        if (!shape.mayShrink || asked > 0) {
            return built;
        }
    }
    return built;
}

/// The peer's lines, printed as they come; the fastest of its modes. In a clean environment: its libraries are its own.
double torchMs(const TrainCase& shape, std::int64_t layers, const Options& options) {
    const std::string command = "env -u LD_LIBRARY_PATH python3 '" + options.peer + "' --layers " + std::to_string(layers) + " " +
                                shape.peerArguments() + " --steps " + std::to_string(options.steps) + " 2>&1";
    FILE* peer = popen(command.c_str(), "r");
    if (peer == nullptr) {
        return 0;
    }
    double best = 0;
    std::string last, line;
    for (int c = 0; (c = std::fgetc(peer)) != EOF;) {
        if (c != '\n') {
            line += static_cast<char>(c);
            continue;
        }
        const Json told = Json::parse(line, nullptr, false);
        if (told.is_object() && told.contains("step_ms")) {
            print(told);
            const double ms = told["step_ms"];
            best = best == 0 ? ms : std::min(best, ms);
        } else {
            last = line;
        }
        line.clear();
    }
    if (pclose(peer) != 0 || best == 0) {
        print({{"bench", "torch_peer"}, {"model", shape.name}, {"error", last}});
    }
    return best;
}

bool measure(const TrainCase& shape, const Ceilings& ceilings, const std::string& gpu, const Options& options) {
    Built built = build(shape, options.layers);
    if (!built.trainer) {
        print({{"bench", "train_cuda"}, {"model", shape.name}, {"error", built.why}});
        return false;
    }
    const double first = built.trainer->step();
    double last = first;
    for (int i = 0; i < 3; ++i) {
        last = built.trainer->step();
    }
    std::vector<double> times;
    for (int i = 0; i < options.steps; ++i) {
        const auto began = Clock::now();
        last = built.trainer->step();
        times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - began).count());
    }
    const auto [least, most] = std::ranges::minmax(times);
    const Floors floors = shape.floors(built.layers, ceilings.flopsPerS, ceilings.bytesPerS);
    const double ms = median(times), flops = shape.flopsPerStep(built.layers), rate = flops / (ms * 1e-3);
    Json line = {{"bench", "train_cuda"},
                 {"model", shape.name},
                 {"layers", built.layers},
                 {"sequences", shape.sequences},
                 {"micro_batch", shape.microBatch},
                 {"optimizer", shape.hasOptimizer},
                 {"flops_per_step", flops},
                 {"steps", options.steps},
                 {"step_ms", ms},
                 {"step_ms_least", least},
                 {"step_ms_most", most},
                 {"tokens_per_s", static_cast<double>(shape.tokensPerStep()) / (ms * 1e-3)},
                 {"tflops", rate * 1e-12},
                 {"floor_gemm_ms", floors.gemmMs},
                 {"floor_attention_ms", floors.attentionMs},
                 {"floor_memory_ms", floors.memoryMs},
                 {"gap", ms / floors.sum()},
                 {"activation_bytes", built.trainer->activationBytes()},
                 {"loss_first", first},
                 {"loss_last", last}};
    if (const double sheet = datasheetFlops(gpu); sheet > 0) {
        line["mfu"] = rate / sheet;
        line["mfu_of_flops_per_s"] = sheet;
    }
    line["share_of_measured_gemm"] = rate / ceilings.flopsPerS;
    built.trainer.reset(); // the peer needs the memory
    if (options.torch) {
        if (const double torch = torchMs(shape, built.layers, options); torch > 0) {
            line["torch_step_ms"] = torch;
            line["times_torch"] = torch / ms;
        }
    }
    print(line);
    return true;
}

std::optional<Options> parse(int argc, char** argv) {
    Options options;
    const char* source = std::getenv("TELEHELM_SOURCE");
    options.peer = source != nullptr ? std::string(source) + "/tests/bench/torch_peer.py"
                                     : (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "torch_peer.py").string();
    for (int i = 1; i < argc; ++i) {
        const std::string_view flag = argv[i];
        const bool hasValue = i + 1 < argc;
        if (flag == "--no-torch") {
            options.torch = false;
        } else if (flag == "--only" && hasValue) {
            options.only = argv[++i];
        } else if (flag == "--steps" && hasValue) {
            options.steps = std::atoi(argv[++i]);
        } else if (flag == "--layers" && hasValue) {
            options.layers = std::atoi(argv[++i]);
        } else if (flag == "--torch-peer" && hasValue) {
            options.peer = argv[++i];
        } else {
            return std::nullopt;
        }
    }
    const bool known =
        options.only.empty() || std::ranges::any_of(kTrainCases, [&](const TrainCase& c) { return options.only == c.name; });
    return known && options.steps > 0 ? std::optional(options) : std::nullopt;
}

int run(const Options& options) {
    Json line = machine();
    Ceilings ceilings;
    {
        const kernels::cuda::Stream stream;
        ceilings = measureCeilings(stream);
    }
    line["copy_bytes_per_s"] = ceilings.bytesPerS;
    line["gemm_flops_per_s"] = ceilings.flopsPerS;
    line["flops_formula"] = kFlopsFormula;
    line["mfu_formula"] = "flops_per_step / step_ms / (dense bf16 of the datasheet)";
    print(line);
    bool allRan = true;
    for (const TrainCase& shape : kTrainCases) {
        if (options.only.empty() || options.only == shape.name) {
            allRan = measure(shape, ceilings, line["gpu"], options) && allRan;
        }
    }
    return allRan ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    const auto options = parse(argc, argv);
    if (!options) {
        std::fputs("bench_train_cuda [--only NAME] [--steps N] [--layers L] [--no-torch] [--torch-peer FILE]\n"
                   "Trains three models on a CUDA device, bf16, random data, beside torch.compile models of the same shapes "
                   "(torch_peer.py).\n"
                   "NAME: slice_52b, mup_proxy, dense_1b3. L: that many layers instead of the case's own, or as many as fit.\n",
                   stderr);
        return argc == 2 && std::string_view(argv[1]) == "--help" ? 0 : 2;
    }
    if (!hasDevice("train_cuda")) {
        return 0;
    }
    try {
        return run(*options);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_train_cuda: %s\n", error.what());
        return 1;
    }
}
