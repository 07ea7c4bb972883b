// SPDX-License-Identifier: Apache-2.0
// Gradients of the parallel path against finite differences of its own loss, in double: tensor and sequence parallel, stages and
// chunks, data ranks, recomputation. Ranks are threads of this program.
#include <QtTest>

#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "kernel_test_support.h"
#include "model/transformer.h"

using namespace telehelm;
using namespace telehelm::model;
using namespace telehelm::test;

namespace {

using DoubleModel = Transformer<ReferenceOps<double>>;

/// Layers by part (chunk × stages + stage).
struct MeshCase {
    const char* name;
    int tensor, stages, data;
    bool sequence;
    std::vector<std::int64_t> parts;
    Recompute recompute;
};

const std::vector<MeshCase> kMeshes = {{"tensor 2", 2, 1, 1, false, {2}, Recompute::None},
                                       {"tensor 2, sequence", 2, 1, 1, true, {2}, Recompute::None},
                                       {"tensor 4, sequence", 4, 1, 1, true, {2}, Recompute::None},
                                       {"2 stages, selective", 1, 2, 1, false, {1, 1}, Recompute::Selective},
                                       {"2 stages, 2 chunks, uneven", 1, 2, 1, false, {1, 2, 1, 1}, Recompute::None},
                                       {"tensor 2, sequence, 2 stages, recomputed", 2, 2, 1, true, {1, 2}, Recompute::Full},
                                       {"tensor 2, sequence, 2 stages, data 2", 2, 2, 2, true, {1, 1}, Recompute::None}};

constexpr std::int64_t kLength = 4, kMicroBatches = 2; // of each data rank, one sequence each
constexpr double kScale = 0.37, kStep = 1e-5;

config::ModelConfig shapeOf(const MeshCase& mesh) {
    config::ModelConfig shape;
    shape.layers = std::accumulate(mesh.parts.begin(), mesh.parts.end(), std::int64_t{0});
    shape.hiddenSize = 8;
    shape.attentionHeads = 4;
    shape.ffnHiddenSize = 8;
    shape.vocabSize = 12;
    shape.contextLength = kLength;
    shape.inputMult = 1.7;
    shape.outputMult = 0.6;
    shape.normEpsilon = 1e-3;
    return shape;
}

/// One rank: its model, and the walk of micro-batches through the parts.
class Rank {
public:
    Rank(const MeshCase& mesh, comm::Communicator& world)
        : m_mesh(mesh), m_world(world), m_tensorRank(world.rank() % mesh.tensor), m_dataRank(world.rank() / mesh.tensor % mesh.data),
          m_stage(world.rank() / mesh.tensor / mesh.data), m_chunks(static_cast<int>(mesh.parts.size()) / mesh.stages),
          m_tensor(world.split(world.rank() / mesh.tensor, world.rank())),
          m_stages(world.split(world.rank() % (mesh.tensor * mesh.data), world.rank())),
          m_model(shapeOf(mesh), 1, 1, placement()) {}

    DoubleModel& model() { return m_model; }

    /// The loss of all micro-batches of all data ranks, the same on every rank; with gradients where asked.
    double loss(const std::vector<std::int32_t>& tokens, bool backward) {
        double nats = 0;
        for (std::int64_t micro = 0; micro < kMicroBatches; ++micro) {
            walk(tokens, static_cast<int>(micro), [&](int chunk, int slot, auto in, auto out) { m_model.forwardPart(chunk, slot, in, out); });
        }
        for (std::int64_t micro = 0; micro < kMicroBatches; ++micro) {
            nats += backward ? walkBack(tokens, static_cast<int>(micro)) : evaluate(tokens, static_cast<int>(micro));
        }
        std::array<double, 1> sum = {m_tensorRank == 0 ? nats : 0.0};
        m_world.allReduce(std::span(sum), comm::Reduce::Sum);
        return kScale * sum[0];
    }

private:
    Placement placement() const {
        Placement placement{.recompute = m_mesh.recompute, .tensor = m_tensor.get()};
        ParallelShape& shape = placement.parallel;
        shape.tensor = m_mesh.tensor;
        shape.tensorRank = m_tensorRank;
        shape.pipeline = m_mesh.stages;
        shape.stage = m_stage;
        shape.sequence = m_mesh.sequence;
        shape.hasEmbedding = m_stage == 0;
        shape.hasHead = m_stage == m_mesh.stages - 1;
        std::int64_t first = 0;
        for (std::size_t part = 0; part < m_mesh.parts.size(); ++part) {
            if (static_cast<int>(part) % m_mesh.stages == m_stage) {
                shape.chunks.push_back({first, m_mesh.parts[part]});
            }
            first += m_mesh.parts[part];
        }
        placement.inFlight.assign(static_cast<std::size_t>(m_chunks), static_cast<int>(kMicroBatches));
        return placement;
    }
    std::span<const std::int32_t> at(const std::vector<std::int32_t>& tokens, int micro, std::int64_t shift) const {
        const std::int64_t sequence = m_dataRank * kMicroBatches + micro;
        return std::span(tokens).subspan(static_cast<std::size_t>(sequence * (kLength + 1) + shift), static_cast<std::size_t>(kLength));
    }
    /// Part after part, in the model's order; each stage takes its turn.
    template <typename Function> void walk(const std::vector<std::int32_t>& tokens, int micro, const Function& forward) {
        const int parts = m_mesh.stages * m_chunks;
        for (int part = m_stage; part < parts; part += m_mesh.stages) {
            const int chunk = part / m_mesh.stages;
            if (part > 0) {
                pull(m_model.partInput(chunk, micro), part - 1, part);
            }
            forward(chunk, micro, at(tokens, micro, 0), at(tokens, micro, 1));
            if (part + 1 < parts) {
                push(m_model.partOutput(chunk, micro), part + 1);
            }
        }
    }
    double walkBack(const std::vector<std::int32_t>& tokens, int micro) {
        const int parts = m_mesh.stages * m_chunks;
        double nats = 0;
        for (int part = parts - m_mesh.stages + m_stage; part >= 0; part -= m_mesh.stages) {
            if (part + 1 < parts) {
                pull(m_model.boundaryGradient(), part + 1, part);
            }
            nats += m_model.backwardPart(part / m_mesh.stages, micro, at(tokens, micro, 0), at(tokens, micro, 1), kScale);
            if (part > 0) {
                push(m_model.boundaryGradient(), part - 1);
            }
        }
        return nats;
    }
    double evaluate(const std::vector<std::int32_t>& tokens, int micro) {
        std::vector<double> nats(static_cast<std::size_t>(kLength));
        if (m_stage == m_mesh.stages - 1) {
            m_model.evaluatePart(micro, at(tokens, micro, 0), at(tokens, micro, 1), nats);
        }
        return std::accumulate(nats.begin(), nats.end(), 0.0);
    }
    /// To the rank of this tensor and data rank that has part `to`.
    void push(std::span<const double> values, int to) { m_stages->send(std::as_bytes(values), to % m_mesh.stages, to); }
    void pull(std::span<double> values, int from, int own) {
        m_stages->recv(std::as_writable_bytes(values), from % m_mesh.stages, own);
    }

    const MeshCase& m_mesh;
    comm::Communicator& m_world;
    int m_tensorRank, m_dataRank, m_stage, m_chunks;
    std::unique_ptr<comm::Communicator> m_tensor, m_stages;
    DoubleModel m_model;
};

/// A weight's elements by their place in the whole weight: `gradient` as the ranks' backward made it, `differences` of the loss.
struct Element {
    double gradient = 0, difference = 0;
};
using Elements = std::map<std::string, std::map<std::int64_t, Element>>;

double startValue(const std::string& name, std::int64_t global) {
    std::uint64_t state = (std::hash<std::string>()(name) + static_cast<std::uint64_t>(global)) * 0x9E3779B97F4A7C15U;
    state = (state ^ (state >> 31)) * 0xBF58476D1CE4E5B9U;
    return (static_cast<double>(state >> 11) * 0x1p-53 - 0.5) * 1.4;
}

/// All ranks go through the same elements; who holds one moves it.
void measure(Rank& rank, const std::vector<std::int32_t>& tokens, Elements& elements, const std::function<void()>& barrier, bool speaks) {
    std::map<std::string, std::map<std::int64_t, std::int64_t>> places; // where this rank has them
    for (const ParameterInfo& info : rank.model().layout()) {
        for (std::int64_t i = 0; i < info.size; ++i) {
            places[info.name][info.globalIndex(i)] = info.offset + i;
        }
    }
    for (auto& [name, all] : elements) {
        for (auto& [global, element] : all) {
            const auto tensor = places.find(name);
            const auto place = tensor == places.end() ? std::map<std::int64_t, std::int64_t>::iterator() : tensor->second.find(global);
            const bool has = tensor != places.end() && place != tensor->second.end();
            double* const value = has ? &rank.model().parameters()[static_cast<std::size_t>(place->second)] : nullptr;
            const double middle = has ? *value : 0;
            const auto lossAt = [&](double moved) {
                if (has) {
                    *value = middle + moved;
                }
                return rank.loss(tokens, false);
            };
            const double above = lossAt(kStep);
            const double below = lossAt(-kStep);
            if (has) {
                *value = middle;
            }
            if (speaks) {
                element.difference = (above - below) / (2 * kStep);
            }
            barrier();
        }
    }
}

} // namespace

class ParallelGradientsTest : public QObject {
    Q_OBJECT

private slots:
    void finiteDifferences_data() {
        QTest::addColumn<int>("index");
        for (int index = 0; index < static_cast<int>(kMeshes.size()); ++index) {
            QTest::newRow(kMeshes[static_cast<std::size_t>(index)].name) << index;
        }
    }
    void finiteDifferences();
};

void ParallelGradientsTest::finiteDifferences() {
    QFETCH(int, index);
    const MeshCase& mesh = kMeshes[static_cast<std::size_t>(index)];
    Random random;
    const config::ModelConfig shape = shapeOf(mesh);
    const auto tokens = random.tokens(mesh.data * kMicroBatches * (kLength + 1), shape.vocabSize);
    Elements elements; // every norm's, every seventh of the others: coprime to all widths, so all rows and columns come
    for (const ParameterInfo& info : parameterLayout(shape)) {
        for (std::int64_t i = 0; i < info.size; i += info.globalShape.size() == 1 ? 1 : 7) {
            elements[info.name][i] = {};
        }
    }
    std::mutex mutex;
    std::string failure;
    const auto run = [&](comm::Communicator& world) {
        Rank rank(mesh, world);
        const int tensorRank = world.rank() % mesh.tensor;
        for (const ParameterInfo& info : rank.model().layout()) {
            for (std::int64_t i = 0; i < info.size; ++i) {
                rank.model().parameters()[static_cast<std::size_t>(info.offset + i)] = startValue(info.name, info.globalIndex(i));
            }
        }
        rank.loss(tokens, true);
        {
            const std::lock_guard lock(mutex);
            for (const ParameterInfo& info : rank.model().layout()) {
                for (std::int64_t i = 0; i < info.size; ++i) {
                    const auto element = elements[info.name].find(info.globalIndex(i));
                    // Without sequence parallelism every tensor rank has the norms' whole gradient.
                    const bool counts = !info.replicatedOverTensor() || mesh.sequence || tensorRank == 0;
                    if (counts && element != elements[info.name].end()) {
                        element->second.gradient += rank.model().gradients()[static_cast<std::size_t>(info.offset + i)];
                    }
                }
            }
        }
        measure(rank, tokens, elements, [&world] { world.barrier(); }, world.rank() == 0);
    };
    std::vector<std::thread> threads;
    for (auto& world : comm::makeThreadCommunicators(mesh.tensor * mesh.stages * mesh.data)) {
        threads.emplace_back([&, own = std::move(world)] {
            try {
                run(*own);
            } catch (const std::exception& error) {
                const std::lock_guard lock(mutex);
                failure = failure.empty() ? error.what() : failure;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    QVERIFY2(failure.empty(), failure.c_str());
    double worst = 0;
    for (const auto& [name, all] : elements) {
        std::vector<double> gradients, differences;
        for (const auto& [global, element] : all) {
            gradients.push_back(element.gradient);
            differences.push_back(element.difference);
        }
        const double error = relativeError(std::span<const double>(gradients), std::span<const double>(differences));
        worst = std::max(worst, error);
        QVERIFY2(error < 1e-6, // a wrong term is off by its share of the gradient, 1e-2 and more
                  qPrintable(QString("%1: %2").arg(name.c_str()).arg(error)));
    }
    qInfo("worst relative error %g", worst);
}

QTEST_GUILESS_MAIN(ParallelGradientsTest)
#include "tst_parallel_gradients.moc"
