// SPDX-License-Identifier: Apache-2.0
#include "mesh_rig.h"

#include <cmath>
#include <mutex>
#include <thread>

namespace telehelm::tests {
namespace {

class PatternSampler final : public data::Sampler {
public:
    Pick pick(std::int64_t, std::int64_t) override { return {}; }
    void fill(std::int64_t step, std::int64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) override {
        std::uint64_t state = static_cast<std::uint64_t>(step * 1000 + index) * 0x9E3779B97F4A7C15U;
        auto token = static_cast<std::int32_t>((state >> 33) % kVocab);
        for (std::size_t t = 0; t < inputs.size(); ++t) {
            inputs[t] = token;
            state = state * 6364136223846793005U + 1442695040888963407U;
            token = static_cast<std::int32_t>((token * 5 + 3 + static_cast<std::int32_t>((state >> 60) % 3)) % kVocab);
            targets[t] = token;
        }
    }
    Result<void> change(data::MixtureChange) override { return {}; }
    [[nodiscard]] const std::vector<data::MixtureChange>& history() const override { return m_history; }
    [[nodiscard]] std::vector<std::int64_t> drawn(std::int64_t) override { return {}; }

private:
    std::vector<data::MixtureChange> m_history;
};

void trainSteps(train::StepEngine& engine, Trained& own) {
    for (std::int64_t step = 1; step <= kSteps; ++step) {
        const train::StepOutcome outcome = engine.run(step, {.vector = 1e-2, .matrix = 5e-3}, 1.0);
        own.losses.push_back(outcome.loss);
        own.norms.push_back(outcome.gradNorm);
        if (outcome.skipped) {
            own.blame = outcome.blameFacts;
            own.losses.clear();
            return;
        }
        own.replicasAgree &= engine.replicasAgree();
    }
}

Trained trainRank(const config::RunConfig& config, comm::Communicator& world, const Between& between) {
    const parallel::Mesh mesh(*parallel::MeshShape::make(config.parallel, world.size()), world);
    auto model = model::makeCpuModel(config.model, config.microSequences(), 1, train::PipelineRunner::placement(config, mesh));
    model = between.model ? between.model(std::move(model), mesh) : std::move(model);
    PatternSampler sampler;
    train::StepEngine engine(config, *model, sampler, mesh, 1);
    model->initialise(7);
    engine.adoptParameters();
    Trained own;
    trainSteps(engine, own);
    std::vector<std::int32_t> inputs(kLength), targets(kLength);
    sampler.fill(99, 0, inputs, targets);
    std::vector<float> nats(kLength);
    engine.evaluate(inputs, targets, nats);
    own.evaluated.assign(nats.begin(), nats.end());
    return own;
}

void merge(Trained& all, Trained own) {
    own.replicasAgree &= all.replicasAgree;
    own.failure = !all.losses.empty() && all.losses != own.losses ? "two ranks report different losses" : all.failure;
    all = std::move(own);
}

} // namespace

std::string Cut::text() const {
    std::string text = "tensor " + std::to_string(tensor) + ", pipeline " + std::to_string(pipeline) + ", data " +
                       std::to_string(data) + ", sequence " + (sequence ? "on" : "off") + ", chunks " + std::to_string(chunks) +
                       ", accumulation " + std::to_string(accumulation);
    return text + (layers.empty() ? "" : ", uneven layers") + (recompute == "none" ? "" : ", recompute " + recompute);
}

std::vector<Cut> allMeshes() {
    std::vector<Cut> meshes;
    for (const int tensor : {1, 2, 4}) {
        for (const int pipeline : {1, 2, 4}) {
            for (const int data : {1, 2, 4}) {
                for (const bool sequence : {false, true}) {
                    if (tensor * pipeline * data <= 8 && (tensor > 1 || !sequence)) {
                        meshes.push_back({.tensor = tensor, .pipeline = pipeline, .data = data, .sequence = sequence});
                    }
                }
            }
        }
    }
    return meshes;
}

config::RunConfig configOf(const Cut& cut) {
    config::RunConfig config;
    config.name = "mesh";
    config.steps = kSteps;
    // An odd number, so that no even number of parts has equal ones.
    config.model = {.layers = cut.pipeline * cut.chunks > 8 ? 17 : 9,
                    .hiddenSize = 16,
                    .attentionHeads = 4,
                    .ffnHiddenSize = 24,
                    .vocabSize = kVocab,
                    .contextLength = kLength};
    config.model.standardDeviation = config.model.matrixStandardDeviation = 0.2;
    config.model.inputMult = 1.3;
    config.model.outputMult = 0.9;
    config.optimizer.weightDecay = 0.1;
    config.batch = {.sequences = 4 * cut.accumulation, .microSequences = 4 / cut.data};
    config.parallel.tensor = cut.tensor;
    config.parallel.pipeline = cut.pipeline;
    config.parallel.data = cut.data;
    config.parallel.sequence = cut.sequence;
    config.parallel.chunks = cut.chunks;
    config.parallel.schedule = cut.chunks > 1 ? "interleaved" : "1f1b";
    config.parallel.layers = cut.layers;
    config.parallel.recompute = cut.recompute;
    return config;
}

config::RunConfig aloneLike(const config::RunConfig& config) {
    config::RunConfig alone = config;
    alone.batch.microSequences = alone.batch.sequences;
    alone.parallel = configOf({}).parallel;
    return alone;
}

std::unique_ptr<data::Sampler> patternSampler() {
    return std::make_unique<PatternSampler>();
}

std::string runRanks(int ranks, const std::function<void(std::unique_ptr<comm::Communicator>)>& rank) {
    std::string failure;
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (auto& world : comm::makeThreadCommunicators(ranks)) {
        threads.emplace_back([&, own = std::move(world)]() mutable {
            try {
                rank(std::move(own));
            } catch (const std::exception& error) { // the others' follow from the first one's
                const std::lock_guard lock(mutex);
                failure = failure.empty() ? error.what() : failure;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    return failure;
}

Trained trainMesh(const config::RunConfig& config, const Between& between) {
    Trained result;
    std::mutex mutex;
    const std::string failure = runRanks(config.parallel.ranks(), [&](std::unique_ptr<comm::Communicator> world) {
        world = between.world ? between.world(std::move(world)) : std::move(world);
        Trained trained = trainRank(config, *world, between);
        const std::lock_guard lock(mutex);
        merge(result, std::move(trained));
    });
    result.failure = failure.empty() ? result.failure : failure;
    return result;
}

double largestError(const std::vector<double>& values, const std::vector<double>& expected) {
    double largest = values.size() == expected.size() ? 0 : 1e9;
    for (std::size_t i = 0; i < std::min(values.size(), expected.size()); ++i) {
        const double error = std::abs(values[i] - expected[i]) / std::abs(expected[i]);
        largest = error > largest || std::isnan(error) ? error : largest;
    }
    return largest;
}

} // namespace telehelm::tests
