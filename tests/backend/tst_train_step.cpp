// SPDX-License-Identifier: Apache-2.0
// The distributed step against plain arithmetic: a model whose gradient is known, on 1, 2 and 3 ranks (mpirun runs this program
// again).
#include <QtTest>

#include <cmath>
#include <limits>

#include "mpirun_self.h"

#include "comm/mpi_world.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

constexpr std::int64_t kSequences = 6;
constexpr std::int64_t kContext = 4;

void expect(bool holds, const std::string& what) {
    if (!holds) {
        throw std::runtime_error(what);
    }
}

/// Loss = Σ over sequences of w · x, where every element of x is the sequence's number: the batch's gradient is the numbers'
/// mean.
class KnownModel final : public model::Model {
public:
    KnownModel() {
        m_layout = {
            {"embedding", {10, 7}, 0, 70, false}, {"layers.0.ffn.down", {30}, 70, 30, true}, {"head", {5}, 100, 5, false}};
        m_parameters.assign(128, 0.0F);
        m_gradients.assign(128, 0.0F);
    }
    const std::vector<model::ParameterInfo>& layout() const override { return m_layout; }
    std::span<float> parameters() override { return m_parameters; }
    std::span<float> gradients() override { return m_gradients; }
    void initialise(std::uint64_t) override {}
    double trainMicroBatch(std::span<const std::int32_t> inputs, std::span<const std::int32_t>, float gradScale) override {
        double nats = 0;
        for (std::size_t b = 0; b < inputs.size(); b += kContext) {
            for (std::size_t i = 0; i < 105; ++i) {
                m_gradients[i] += gradScale * kContext * static_cast<float>(inputs[b]);
            }
            nats += inputs[b];
        }
        if (poison) {
            m_gradients[72] = std::numeric_limits<float>::infinity();
        }
        return nats;
    }
    void evaluate(std::span<const std::int32_t>, std::span<const std::int32_t>, std::span<float>) override {}
    std::size_t activationBytes() const override { return 0; }
    // No pipeline comes here.
    std::int64_t boundarySize(std::int64_t) const override { return 0; }
    std::span<float> partInput(int, int) override { return {}; }
    std::span<float> partOutput(int, int) override { return {}; }
    std::span<float> boundaryGradient() override { return {}; }
    void forwardPart(int, int, std::span<const std::int32_t>, std::span<const std::int32_t>) override {}
    double backwardPart(int, int, std::span<const std::int32_t>, std::span<const std::int32_t>, float) override { return 0; }
    void evaluatePart(int, std::span<const std::int32_t>, std::span<const std::int32_t>, std::span<float>) override {}

    bool poison = false;

private:
    std::vector<model::ParameterInfo> m_layout;
    std::vector<float> m_parameters, m_gradients;
};

/// Sequence i of any step holds the number i + 1.
class NumberSampler final : public data::Sampler {
public:
    Pick pick(std::int64_t, std::int64_t) override { return {}; }
    void fill(std::int64_t, std::int64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) override {
        std::ranges::fill(inputs, static_cast<std::int32_t>(index + 1));
        std::ranges::fill(targets, 0);
    }
    Result<void> change(data::MixtureChange) override { return {}; }
    const std::vector<data::MixtureChange>& history() const override { return m_history; }
    std::vector<std::int64_t> drawn(std::int64_t) override { return {}; }

private:
    std::vector<data::MixtureChange> m_history;
};

config::RunConfig configFor(int ranks, std::int64_t bucketBytes) {
    config::RunConfig config;
    config.batch = {.sequences = kSequences, .microSequences = 1};
    config.model.contextLength = kContext;
    config.model.layers = 1;
    config.parallel.data = ranks;
    config.parallel.bucketBytes = bucketBytes;
    return config;
}

void checkStep(comm::Communicator& world, std::int64_t bucketBytes) {
    const config::RunConfig config = configFor(world.size(), bucketBytes);
    const parallel::Mesh mesh(*parallel::MeshShape::make(config.parallel, world.size()), world);
    KnownModel model;
    NumberSampler sampler;
    train::StepEngine engine(config, model, sampler, mesh, 1);
    engine.adoptParameters();

    // Numbers 1 … 6: mean 3.5 on 105 elements; loss Σ numbers ÷ tokens.
    const train::StepOutcome good = engine.run(1, {.vector = 0.1, .matrix = 0.2}, 1.0);
    engine.settle();
    expect(std::abs(good.loss - 21.0 / (kSequences * kContext)) < 1e-12, "loss " + std::to_string(good.loss));
    expect(std::abs(good.gradNorm - 3.5 * std::sqrt(105.0)) < 1e-4,
           "each shard must be counted once: norm " + std::to_string(good.gradNorm));
    for (std::size_t i = 0; i < 105; ++i) { // Adam's first step moves by the rate, whatever the gradient's size
        const float rate = i >= 70 && i < 100 ? 0.2F : 0.1F;
        expect(std::abs(model.parameters()[i] + rate) < 1e-5,
               "parameter " + std::to_string(i) + " is " + std::to_string(model.parameters()[i]));
    }
    for (std::size_t i = 105; i < 128; ++i) {
        expect(model.parameters()[i] == 0.0F, "padding must stay as it is");
    }

    // Infinity on the last rank: nobody moves, everybody knows where it began.
    const std::vector<float> before(model.parameters().begin(), model.parameters().end());
    model.poison = world.rank() == world.size() - 1;
    const train::StepOutcome bad = engine.run(2, {.vector = 0.1, .matrix = 0.2}, 1.0);
    expect(bad.skipped && engine.updates() == 1, "a step that is not finite must be skipped");
    expect(std::equal(before.begin(), before.end(), model.parameters().begin()), "a skipped step must change nothing");
    const std::string where = "rank " + std::to_string(world.size() - 1) + ", stage 0, micro-batch 0, layer 0: gradient of layers.0.ffn.down";
    expect(bad.blame == where, "blamed: " + bad.blame);

    model.poison = false;
    expect(!engine.run(3, {.vector = 0.1, .matrix = 0.2}, 1.0).skipped && engine.updates() == 2, "the run goes on afterwards");
    engine.settle();
}

int runAsRank() {
    const comm::MpiWorld mpi;
    try {
        for (const std::int64_t bucketBytes : {1 << 20, 256, 64}) {
            checkStep(*mpi.communicator(), bucketBytes);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "failed: %s\n", error.what());
        mpi.abort(1);
    }
    return 0;
}

} // namespace

class TrainStepTest : public QObject {
    Q_OBJECT
private slots:
    void alone() {
        try {
            checkStep(*comm::makeSelfCommunicator(), 256);
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }

    void onRanks_data() {
        QTest::addColumn<int>("ranks");
        QTest::newRow("2 ranks, even shards") << 2;
        QTest::newRow("3 ranks, padded shards") << 3;
    }
    void onRanks() {
        QFETCH(int, ranks);
        if (!tests::hasMpirun()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        const tests::MpiJob job = tests::mpirunSelf(ranks);
        QVERIFY(job.ended);
        QVERIFY2(job.exitCode == 0, job.errors.constData());
    }
};

int main(int argc, char** argv) {
    if (comm::launchedByMpi()) {
        return runAsRank();
    }
    QCoreApplication app(argc, argv);
    TrainStepTest test;
    return QTest::qExec(&test, argc, argv);
}
#include "tst_train_step.moc"
