// SPDX-License-Identifier: Apache-2.0
// What the engine's step hands to its optimizer is the gradient: on every mesh, with both schedules, the reduced fp32 gradients
// of every rank against those of the whole model in double, which are checked by finite differences of its loss.
//
// The bound: fp32 sums of a tensor's gradient, over a batch and through the layers, are off by about 1e-6 of its norm (printed).
// A micro-batch that is missing, late or counted twice, a rank's share that is not added: 1e-2 and more.
#include <QtTest>

#include <cmath>
#include <mutex>
#include <numeric>

#include "mesh_rig.h"
#include "model/transformer.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

using DoubleModel = model::Transformer<model::ReferenceOps<double>>;
using Infos = std::vector<model::ParameterInfo>;

constexpr double kGradientBound = 1e-5, kDifferenceBound = 1e-6;
constexpr std::int64_t kSecondStep = 2; // what the first one has left must not show

/// By place in the whole weight, exact in fp32; norms around 1.
double startValue(const model::ParameterInfo& info, std::int64_t index) {
    std::uint64_t state =
        (std::hash<std::string>()(info.name) + static_cast<std::uint64_t>(info.globalIndex(index))) * 0x9E3779B97F4A7C15U;
    state = (state ^ (state >> 31)) * 0xBF58476D1CE4E5B9U;
    const double unit = static_cast<double>(state >> 48) * 0x1p-16 - 0.5;
    return info.replicatedOverTensor() ? 1 + unit / 2 : unit / 2;
}

template <typename Real> void fillParameters(const Infos& layout, std::span<Real> parameters) {
    for (const model::ParameterInfo& info : layout) {
        for (std::int64_t i = 0; i < info.size; ++i) {
            parameters[static_cast<std::size_t>(info.offset + i)] = static_cast<Real>(startValue(info, i));
        }
    }
}

/// The whole model in double, on all sequences of the step at once.
class Reference {
public:
    explicit Reference(const config::RunConfig& config)
        : m_model(config.model, config.batch.sequences, 1), m_tokens(static_cast<std::size_t>(config.batch.sequences * kLength)),
          m_targets(m_tokens.size()) {
        const auto sampler = patternSampler();
        for (std::size_t from = 0; from < m_tokens.size(); from += kLength) {
            sampler->fill(kSecondStep, static_cast<std::int64_t>(from) / kLength, std::span(m_tokens).subspan(from, kLength),
                          std::span(m_targets).subspan(from, kLength));
        }
        fillParameters(m_model.layout(), m_model.parameters());
        m_loss = m_model.trainMicroBatch(m_tokens, m_targets, scale()) * scale();
        for (const model::ParameterInfo& info : m_model.layout()) {
            const auto own =
                m_model.gradients().subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.size));
            m_gradients[info.name].assign(own.begin(), own.end());
        }
    }
    [[nodiscard]] double loss() const { return m_loss; }
    [[nodiscard]] const std::map<std::string, std::vector<double>>& gradients() const { return m_gradients; }
    [[nodiscard]] const Infos& layout() const { return m_model.layout(); }

    /// The loss' slope where a weight goes along its gradient, over that gradient's square: 1.
    double slopeAlong(const model::ParameterInfo& info) {
        const std::vector<double>& gradient = m_gradients.at(info.name);
        double square = 0;
        for (const double value : gradient) {
            square += value * value;
        }
        const double step = 1e-5 / std::sqrt(square);
        return (lossAt(info, step) - lossAt(info, -step)) / (2 * step * square);
    }

private:
    [[nodiscard]] double scale() const { return 1.0 / static_cast<double>(m_tokens.size()); }
    double lossAt(const model::ParameterInfo& info, double step) {
        const std::span<double> weight = m_model.parameters().subspan(static_cast<std::size_t>(info.offset));
        const std::vector<double>& gradient = m_gradients.at(info.name);
        const std::vector<double> before(weight.begin(), weight.begin() + info.size);
        for (std::size_t i = 0; i < gradient.size(); ++i) {
            weight[i] += step * gradient[i];
        }
        std::vector<double> nats(m_tokens.size());
        m_model.evaluate(m_tokens, m_targets, nats);
        std::ranges::copy(before, weight.begin());
        return std::accumulate(nats.begin(), nats.end(), 0.0) * scale();
    }
    DoubleModel m_model;
    std::vector<std::int32_t> m_tokens, m_targets;
    std::map<std::string, std::vector<double>> m_gradients; // by weight
    double m_loss = 0;
};

/// Of one weight over all ranks.
struct Compared {
    double difference = 0; // Σ squares
    std::vector<int> seen; // by element, how often
};
using AllCompared = std::map<std::string, Compared>;

/// Adam's first moment with β₁ = 0 is the gradient itself.
void compareShards(train::StepEngine& engine, const Infos& layout, const Reference& reference, AllCompared& all) {
    for (const train::Shard& shard : engine.shards()) {
        for (const model::ParameterInfo& info : layout) {
            Compared& weight = all[info.name];
            const std::vector<double>& expected = reference.gradients().at(info.name);
            weight.seen.resize(expected.size());
            for (std::int64_t at = std::max(shard.from, info.offset); at < std::min(shard.to, info.offset + info.size); ++at) {
                const auto global = static_cast<std::size_t>(info.globalIndex(at - info.offset));
                const double gap =
                    static_cast<double>(shard.firstMoment[static_cast<std::size_t>(at - shard.from)]) - expected[global];
                weight.difference += gap * gap;
                ++weight.seen[global];
            }
        }
    }
}

} // namespace

class TestEngineGradients : public QObject {
    Q_OBJECT

private slots:
    void theReferenceIsTheSlope();
    void everyMesh_data();
    void everyMesh();
    void cleanupTestCase() { qInfo("worst error of a weight's gradient %.2g, bound %g", m_worst, kGradientBound); }

private:
    Reference& reference(const config::RunConfig& config) {
        auto& place = m_references[{config.model.layers, config.batch.sequences}];
        if (!place) {
            place = std::make_unique<Reference>(config);
        }
        return *place;
    }
    void judge(const Reference& reference, const AllCompared& all, int tensorRanks);
    std::map<std::pair<std::int64_t, std::int64_t>, std::unique_ptr<Reference>> m_references; // by layers and sequences
    double m_worst = 0;
};

void TestEngineGradients::theReferenceIsTheSlope() {
    Reference& reference = this->reference(configOf({.accumulation = 3}));
    double worst = 0;
    for (const model::ParameterInfo& info : reference.layout()) {
        const double error = std::abs(reference.slopeAlong(info) - 1);
        QVERIFY2(error < kDifferenceBound, qPrintable(QString("%1: off by %2").arg(info.name.c_str()).arg(error)));
        worst = std::max(worst, error);
    }
    qInfo("worst error of a slope %.2g", worst);
}

void TestEngineGradients::everyMesh_data() {
    QTest::addColumn<int>("mesh");
    QTest::addColumn<int>("chunks");
    const std::vector<Cut> meshes = allMeshes();
    for (int mesh = 0; mesh < static_cast<int>(meshes.size()); ++mesh) {
        const Cut& cut = meshes[static_cast<std::size_t>(mesh)];
        for (const int chunks : {1, 2 + mesh % 3}) {
            QTest::addRow("tensor %d, pipeline %d, data %d%s, chunks %d", cut.tensor, cut.pipeline, cut.data,
                          cut.sequence ? ", sequence" : "", chunks)
                << mesh << chunks;
        }
    }
}

void TestEngineGradients::everyMesh() {
    constexpr std::int64_t bucketSizes[] = {64, 2000, 1 << 20};
    QFETCH(int, mesh);
    QFETCH(int, chunks);
    Cut cut = allMeshes()[static_cast<std::size_t>(mesh)];
    cut.chunks = chunks;
    cut.accumulation = chunks == 1 ? 3 : 4;
    config::RunConfig config = configOf(cut);
    config.parallel.bucketBytes = bucketSizes[static_cast<std::size_t>(mesh / 2) % std::size(bucketSizes)];
    config.optimizer.beta1 = 0;
    const Reference& reference = this->reference(config);
    AllCompared all;
    double loss = 0;
    std::mutex mutex;
    const std::string failure = runRanks(config.parallel.ranks(), [&](std::unique_ptr<comm::Communicator> world) {
        const parallel::Mesh own(*parallel::MeshShape::make(config.parallel, world->size()), *world);
        const auto model =
            model::makeCpuModel(config.model, config.microSequences(), 1, train::PipelineRunner::placement(config, own));
        const auto sampler = patternSampler();
        train::StepEngine engine(config, *model, *sampler, own, 1);
        fillParameters(model->layout(), model->parameters());
        engine.adoptParameters();
        train::StepOutcome outcome;
        for (std::int64_t step = 1; step <= kSecondStep; ++step) {
            outcome = engine.run(step, {.vector = 0, .matrix = 0}, 0.0); // no clipping; the weights stay
        }
        engine.settle();
        const std::lock_guard lock(mutex);
        compareShards(engine, model->layout(), reference, all);
        loss = outcome.loss;
    });
    QVERIFY2(failure.empty(), failure.c_str());
    QVERIFY2(std::abs(loss / reference.loss() - 1) < 1e-6, qPrintable(QString("%1 %2").arg(loss).arg(reference.loss())));
    judge(reference, all, cut.tensor);
}

/// Every element comes from one rank, a norm's from each tensor rank.
void TestEngineGradients::judge(const Reference& reference, const AllCompared& all, int tensorRanks) {
    for (const model::ParameterInfo& info : reference.layout()) {
        const Compared& weight = all.at(info.name);
        const int times = info.replicatedOverTensor() ? tensorRanks : 1;
        QVERIFY2(std::ranges::all_of(weight.seen, [times](int seen) { return seen == times; }), info.name.c_str());
        double square = 0;
        for (const double value : reference.gradients().at(info.name)) {
            square += value * value;
        }
        const double error = std::sqrt(weight.difference / (square * times));
        QVERIFY2(error < kGradientBound, qPrintable(QString("%1: off by %2").arg(info.name.c_str()).arg(error)));
        m_worst = std::max(m_worst, error);
    }
}

QTEST_GUILESS_MAIN(TestEngineGradients)
#include "tst_engine_gradients.moc"
