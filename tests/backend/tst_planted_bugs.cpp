// SPDX-License-Identifier: Apache-2.0
// The bound of the losses (mesh_rig.h) is narrow enough: each bug that is planted here, as small as it comes, moves the losses of
// 20 steps beyond four times that bound. The factors are printed.
#include <QtTest>

#include <atomic>
#include <cmath>

#include "mesh_rig.h"
#include "telehelm/kernels/rope.h"

using namespace telehelm;
using namespace telehelm::tests;
using kernels::RopeShape;

namespace {

std::atomic<int> g_rowParts{1}; // > 1: a row's position is taken within its rank's rows

/// Positions t mod (T / parts): those of the rows in a rank's part of a sequence.
RopeShape within(RopeShape shape) {
    shape.T /= g_rowParts;
    return shape;
}

} // namespace

// What the linker puts in the place of kernels::cpu::ropeForward and ropeBackward, and these themselves.
extern "C" {
void __real__ZN8telehelm7kernels3cpu11ropeForwardEPfPKfS4_RKNS0_9RopeShapeE(float*, const float*, const float*, const RopeShape&);
void __real__ZN8telehelm7kernels3cpu12ropeBackwardEPfPKfS4_RKNS0_9RopeShapeE(float*, const float*, const float*,
                                                                             const RopeShape&);
void __wrap__ZN8telehelm7kernels3cpu11ropeForwardEPfPKfS4_RKNS0_9RopeShapeE(float* qkv, const float* cos, const float* sin,
                                                                            const RopeShape& shape) {
    __real__ZN8telehelm7kernels3cpu11ropeForwardEPfPKfS4_RKNS0_9RopeShapeE(qkv, cos, sin, within(shape));
}
void __wrap__ZN8telehelm7kernels3cpu12ropeBackwardEPfPKfS4_RKNS0_9RopeShapeE(float* dQkv, const float* cos, const float* sin,
                                                                             const RopeShape& shape) {
    __real__ZN8telehelm7kernels3cpu12ropeBackwardEPfPKfS4_RKNS0_9RopeShapeE(dQkv, cos, sin, within(shape));
}
}

namespace {

constexpr int kBadMicroBatch = 1; // neither the first nor the last

/// Under sequence parallelism each tensor rank keeps its own rows' share of the norms' gradients.
class NormsNotSummed final : public Passing {
public:
    NormsNotSummed(std::unique_ptr<Communicator> inner, std::size_t norms) : Passing(std::move(inner)), m_norms(norms) {}
    void allReduce(std::span<float> data, comm::Reduce op) override {
        if (data.size() != m_norms) {
            Passing::allReduce(data, op);
        }
    }

private:
    std::unique_ptr<Communicator> around(std::unique_ptr<Communicator> inner) const override {
        return std::make_unique<NormsNotSummed>(std::move(inner), m_norms);
    }
    std::size_t m_norms;
};

/// One data rank reads its block of one middle bucket before the reduction has come: it has the block of the step before.
class BlockLate final : public Passing {
public:
    BlockLate(std::unique_ptr<Communicator> inner, int buckets) : Passing(std::move(inner)), m_buckets(buckets) {}
    int startReduceScatter(std::span<const float> in, std::span<float> out) override {
        const int ticket = Passing::startReduceScatter(in, out);
        if (m_started++ % m_buckets == m_buckets / 2 && rank() == 1) {
            m_ticket = ticket;
            m_block = out;
        }
        return ticket;
    }
    void finish(int ticket) override {
        Passing::finish(ticket);
        if (ticket == m_ticket) {
            m_before.resize(m_block.size());
            std::swap_ranges(m_before.begin(), m_before.end(), m_block.begin());
            m_ticket = -1;
        }
    }

private:
    std::unique_ptr<Communicator> around(std::unique_ptr<Communicator> inner) const override {
        return std::make_unique<BlockLate>(std::move(inner), m_buckets);
    }
    int m_buckets, m_started = 0, m_ticket = -1;
    std::span<float> m_block;
    std::vector<float> m_before;
};

/// A stage works on what came for the micro-batch before: its activations, or the gradients of its output.
class WrongMessage final : public Passing {
public:
    WrongMessage(std::unique_ptr<Communicator> inner, parallel::ActionKind kind, int microBatches)
        : Passing(std::move(inner)), m_kind(kind), m_microBatches(microBatches) {}
    void recv(std::span<std::byte> data, int from, int tag) override {
        Passing::recv(data, from, tag);
        if (tag != parallel::messageTag({m_kind, 0, 0})) {
            return;
        }
        const std::vector<std::byte> own(data.begin(), data.end());
        if (m_received++ % m_microBatches == kBadMicroBatch) {
            std::ranges::copy(m_before, data.begin());
        }
        m_before = own;
    }

private:
    std::unique_ptr<Communicator> around(std::unique_ptr<Communicator> inner) const override {
        return std::make_unique<WrongMessage>(std::move(inner), m_kind, m_microBatches);
    }
    parallel::ActionKind m_kind;
    int m_microBatches, m_received = 0;
    std::vector<std::byte> m_before;
};

/// One micro-batch's gradients are added twice; its loss counts once.
class CountsTwice final : public model::Model {
public:
    CountsTwice(std::unique_ptr<Model> inner, int microBatches) : m_inner(std::move(inner)), m_microBatches(microBatches) {}
    using Tokens = std::span<const std::int32_t>;
    const std::vector<model::ParameterInfo>& layout() const override { return m_inner->layout(); }
    std::span<float> parameters() override { return m_inner->parameters(); }
    std::span<float> gradients() override { return m_inner->gradients(); }
    void initialise(std::uint64_t seed) override { m_inner->initialise(seed); }
    double trainMicroBatch(Tokens inputs, Tokens targets, float gradScale) override {
        if (m_backwards++ % m_microBatches == kBadMicroBatch) {
            m_inner->trainMicroBatch(inputs, targets, gradScale);
        }
        return m_inner->trainMicroBatch(inputs, targets, gradScale);
    }
    void evaluate(Tokens inputs, Tokens targets, std::span<float> nats) override { m_inner->evaluate(inputs, targets, nats); }
    std::size_t activationBytes() const override { return m_inner->activationBytes(); }
    void onBackward(std::function<void()> turn) override { m_inner->onBackward(std::move(turn)); }
    bool onWeights(model::WeightTurns turns) override { return m_inner->onWeights(std::move(turns)); }
    std::int64_t boundarySize(std::int64_t sequences) const override { return m_inner->boundarySize(sequences); }
    std::span<float> partInput(int chunk, int slot) override { return m_inner->partInput(chunk, slot); }
    std::span<float> partOutput(int chunk, int slot) override { return m_inner->partOutput(chunk, slot); }
    std::span<float> boundaryGradient() override { return m_inner->boundaryGradient(); }
    void forwardPart(int chunk, int slot, Tokens inputs, Tokens targets) override {
        m_inner->forwardPart(chunk, slot, inputs, targets);
    }
    double backwardPart(int chunk, int slot, Tokens inputs, Tokens targets, float gradScale) override {
        if (m_backwards++ % m_microBatches == kBadMicroBatch) {
            const std::vector<float> gradient(boundaryGradient().begin(), boundaryGradient().end());
            m_inner->backwardPart(chunk, slot, inputs, targets, gradScale);
            m_inner->forwardPart(chunk, slot, inputs, targets); // a backward uses its activations up
            std::ranges::copy(gradient, boundaryGradient().begin());
        }
        return m_inner->backwardPart(chunk, slot, inputs, targets, gradScale);
    }
    void evaluatePart(int slot, Tokens inputs, Tokens targets, std::span<float> nats) override {
        m_inner->evaluatePart(slot, inputs, targets, nats);
    }

private:
    std::unique_ptr<Model> m_inner;
    int m_microBatches, m_backwards = 0;
};

struct Bug {
    const char* name;
    Cut cut;
    Between between = {};
    int rowParts = 1;
    std::int64_t bucketBytes = 1 << 20;
};

std::size_t normsOf(const Cut& cut) {
    const config::RunConfig config = configOf(cut);
    std::size_t norms = 0;
    for (const auto& info : model::parameterLayout(config.model, model::parallelShape(config, 0, 0))) {
        norms += info.replicatedOverTensor() ? static_cast<std::size_t>(info.size) : 0;
    }
    return norms;
}

int bucketsOf(const Cut& cut, std::int64_t bytes) {
    const config::RunConfig config = configOf(cut);
    const auto layout = model::parameterLayout(config.model, model::parallelShape(config, 0, 0));
    const std::int64_t padded = (layout.back().offset + layout.back().size + 63) / 64 * 64;
    return static_cast<int>(train::cutBuckets(padded, bytes, cut.data).size());
}

Between countsTwice(const Cut& cut) {
    return {.model = [count = static_cast<int>(cut.accumulation)](auto inner,
                                                                  const parallel::Mesh& mesh) -> std::unique_ptr<model::Model> {
        if (mesh.own().data > 0) {
            return inner;
        }
        return std::make_unique<CountsTwice>(std::move(inner), count);
    }};
}

Between wrongMessage(const Cut& cut, parallel::ActionKind kind) {
    return {.world = [=](auto inner) {
        return std::make_unique<WrongMessage>(std::move(inner), kind, static_cast<int>(cut.accumulation));
    }};
}

std::vector<Bug> plantedBugs() {
    const Cut split{.tensor = 2, .data = 2, .sequence = true, .accumulation = 4};
    const Cut rows{.tensor = 2, .data = 4, .sequence = true, .accumulation = 2}; // one sequence a micro-batch
    const Cut staged{.pipeline = 2, .data = 2, .accumulation = 4};
    constexpr std::int64_t kSmall = 2000;
    return {
        {"norms not summed over the tensor ranks",
         split,
         {.world = [norms = normsOf(split)](auto inner) { return std::make_unique<NormsNotSummed>(std::move(inner), norms); }}},
        {"a micro-batch counted twice", split, countsTwice(split)},
        {"a micro-batch counted twice, stages", staged, countsTwice(staged)},
        {"a block of one bucket late",
         split,
         {.world = [buckets =
                        bucketsOf(split, kSmall)](auto inner) { return std::make_unique<BlockLate>(std::move(inner), buckets); }},
         1,
         kSmall},
        {"positions within the rank's rows", rows, {}, rows.tensor},
        {"activations of another micro-batch", staged, wrongMessage(staged, parallel::ActionKind::Forward)},
        {"gradients of another micro-batch", staged, wrongMessage(staged, parallel::ActionKind::Backward)}};
}

} // namespace

class TestPlantedBugs : public QObject {
    Q_OBJECT

private slots:
    void eachIsCaught_data() {
        QTest::addColumn<int>("index");
        const std::vector<Bug> bugs = plantedBugs();
        for (int index = 0; index < static_cast<int>(bugs.size()); ++index) {
            QTest::newRow(bugs[static_cast<std::size_t>(index)].name) << index;
        }
    }
    void eachIsCaught();
};

/// Against one rank; without the bug the same mesh is within the bound.
void TestPlantedBugs::eachIsCaught() {
    QFETCH(int, index);
    const Bug bug = plantedBugs()[static_cast<std::size_t>(index)];
    config::RunConfig config = configOf(bug.cut);
    config.parallel.bucketBytes = bug.bucketBytes;
    const Trained alone = trainMesh(aloneLike(config)), sound = trainMesh(config);
    g_rowParts = bug.rowParts;
    const Trained wrong = trainMesh(config, bug.between);
    g_rowParts = 1;
    for (const Trained* trained : {&alone, &sound, &wrong}) {
        QVERIFY2(trained->failure.empty(), trained->failure.c_str());
    }
    const double rounding = largestError(sound.losses, alone.losses), error = largestError(wrong.losses, alone.losses);
    qInfo("losses off by %.2g, %.0f times the bound (rounding alone: %.2g)", error, error / kBound, rounding);
    QVERIFY(rounding < kBound);
    QVERIFY2(std::isfinite(error) && error > 4 * kBound, qPrintable(QString::number(error)));
}

QTEST_GUILESS_MAIN(TestPlantedBugs)
#include "tst_planted_bugs.moc"
