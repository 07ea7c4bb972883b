// SPDX-License-Identifier: Apache-2.0
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QtTest>

#include <fstream>
#include <iterator>
#include <sstream>

#include "ctl/cli.h"
#include "model/model.h"
#include "parallel/plan.h"

using namespace telehelm;
using namespace telehelm::parallel;

namespace {

std::string sourcePath(const std::string& name) {
    return qEnvironmentVariable("TELEHELM_SOURCE").toStdString() + "/" + name;
}

config::RunConfig bigConfig() {
    auto config = config::loadRunConfig(sourcePath("configs/tele_flm_52b.toml"));
    return config ? *config : config::RunConfig{};
}

config::RunConfig smallConfig(int tensor, int pipeline, int data, int chunks) {
    config::RunConfig config;
    config.model = {
        .layers = 9, .hiddenSize = 64, .attentionHeads = 4, .ffnHiddenSize = 172, .vocabSize = 272, .contextLength = 64};
    config.batch = {.sequences = 16, .microSequences = 1};
    config.parallel = {
        .tensor = tensor, .pipeline = pipeline, .data = data, .schedule = chunks > 1 ? "interleaved" : "1f1b", .chunks = chunks};
    return config;
}

bool near(double value, double wanted, double tolerance = 1e-9) {
    return std::abs(value - wanted) <= tolerance * std::abs(wanted);
}

struct Outcome {
    int code;
    std::string out, err;
};
Outcome call(std::vector<std::string> arguments) {
    std::ostringstream out, err;
    const int code = ctl::run(std::move(arguments), {.out = out, .err = err});
    return {code, out.str(), err.str()};
}

} // namespace

class PlanTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    /// A copy of a shipped config with one text in place of another.
    std::string changedConfig(const std::string& name, const std::string& from, const std::string& to) const {
        std::ifstream file(sourcePath(name));
        std::string text((std::istreambuf_iterator<char>(file)), {});
        text.replace(text.find(from), from.size(), to);
        const std::string path = m_dir.path().toStdString() + "/changed.toml";
        std::ofstream(path) << text;
        return path;
    }

private slots:
    /// Worked out by hand from table 2: C 8192, F 21,824, V 80,000, 64 layers, tensor 4, pipeline 2, data 112.
    void teleFlm52bByHand() {
        const auto plan = makePlan(bigConfig(), 160e12);
        QVERIFY2(plan, plan ? "" : plan.error().text().c_str());
        QCOMPARE(plan->parameters, 52'817'829'888);
        QCOMPARE(plan->tokensPerStep, 5'505'024);
        QCOMPARE(plan->microBatches, 12); // 1344 / 112 / 1
        QVERIFY(near(plan->evenBubbleShare, 1.0 / 13));
        QVERIFY(near(plan->flopsPerToken, 3.259e11, 1e-3));

        // 4C² + 3CF = 268,435,456 + 536,346,624 over 4 ranks, two norms of 8192 on each
        const std::int64_t layer = 804'782'080 / 4 + 2 * 8192;
        const std::int64_t ends = 80'000 * 8192 / 4;
        const StagePlan &first = plan->stages[0], &last = plan->stages[1];
        QCOMPARE(first.parts, (std::vector<LayerRange>{{0, 32, true, false}}));
        QCOMPARE(last.parts, (std::vector<LayerRange>{{32, 32, false, true}}));
        QCOMPARE(first.parameters.total(), 32 * layer + ends);
        QCOMPARE(last.parameters.total(), 32 * layer + ends + 8192);
        const std::int64_t shard = 58'952'000;              // 6,602,620,928 / 112, up to a multiple of 64
        QCOMPARE(first.parameterBytes, 2 * 112 * shard);    // bf16, with room for all shards
        QCOMPARE(first.gradientBytes, 4 * 112 * shard);     // fp32
        QCOMPARE(first.optimizerBytes, 12 * shard);         // master, two moments

        // A layer keeps 4 × N·C/4 of residuals and norms, 4 × N·C/4 of q, k, v, attention, 3 × N·F/4; in bf16; and fp32
        // statistics.
        const std::int64_t kept = 2 * (8 * 4096 * 8192 / 4 + 3 * 4096 * 21'824 / 4) + 4 * (2 * 4096 / 4 + 4096 * 64 / 4);
        QCOMPARE(layerActivationBytes(bigConfig(), Recompute::None), kept);
        QCOMPARE(first.peakActivations, 2);
        const std::int64_t stream = 2 * 4096 * (8192 / 4); // behind the last layer
        QCOMPARE(first.activationBytes[0], 2 * (32 * kept + stream));
        QCOMPARE(last.peakActivations, 1);
        QCOMPARE(first.activationBytes[2], 2 * 33 * stream); // inputs alone
        QVERIFY(first.totalBytes(Recompute::None) < 80'000'000'000);                      // the report's GPUs

        // 12 micro-batches × (32 layers × 10 + 2) collectives of N·C bf16, 3/4 of each is sent; norms once a step.
        QVERIFY(near(first.traffic.tensor, 12 * 322 * (4096.0 * 8192 * 2) * 0.75 + 32 * 2 * 8192 * 4 * 1.5));
        QVERIFY(near(first.traffic.data, 6'602'620'928 * 6.0 * 111 / 112));
        QVERIFY(near(first.traffic.pipeline, 12 * 4096.0 * 8192 / 4 * 2));
        QVERIFY(near(first.traffic.pipeline, last.traffic.pipeline));

        // Both stages: 12 micro-batches on the slower one, head and 32 layers, plus one of the other's.
        const double layerFlops = 2 * 804'782'080.0 + 2 * 4096.0 * 8192, head = 2 * 80'000.0 * 8192;
        const double step = 3 * 4096 / 4.0 * (12 * (32 * layerFlops + head) + 32 * layerFlops) / 160e12;
        QVERIFY(near(plan->stepSeconds, step, 1e-6));
        QVERIFY(near(plan->tokensPerSecond, 5'505'024 / step, 1e-6));
        QVERIFY(plan->bubbleShare > plan->evenBubbleShare);
    }

    void everyMeshAddsUpToTheModel_data() {
        QTest::addColumn<int>("tensor");
        QTest::addColumn<int>("pipeline");
        QTest::addColumn<int>("data");
        QTest::addColumn<int>("chunks");
        for (const int tensor : {1, 2, 4}) {
            for (const int pipeline : {1, 2, 4}) {
                for (const int data : {1, 2, 4}) {
                    for (const int chunks : {1, 2}) {
                        QTest::addRow("%d x %d x %d, %d chunks", tensor, pipeline, data, chunks)
                            << tensor << pipeline << data << chunks;
                    }
                }
            }
        }
    }
    void everyMeshAddsUpToTheModel() {
        QFETCH(int, tensor);
        QFETCH(int, pipeline);
        QFETCH(int, data);
        QFETCH(int, chunks);
        config::RunConfig config = smallConfig(tensor, pipeline, data, chunks);
        const auto plan = makePlan(config, 1e9);
        QVERIFY2(plan, plan ? "" : plan.error().text().c_str());
        std::int64_t weights = 0, layers = 0, optimizer = 0;
        double busy = 0;
        for (const StagePlan& stage : plan->stages) {
            weights += stage.parameters.split * tensor + stage.parameters.replicated;
            for (const LayerRange& part : stage.parts) {
                layers += part.count;
            }
            QVERIFY(stage.optimizerBytes * data >= stage.parameters.total() * 8);
            optimizer += stage.optimizerBytes * data * tensor;
            busy += (1 - stage.idleShare) * plan->stepSeconds * tensor * data;
            QVERIFY(stage.activationBytes[0] > stage.activationBytes[1] && stage.activationBytes[1] > stage.activationBytes[2]);
            QCOMPARE(stage.traffic.tensor > 0, tensor > 1);
            QCOMPARE(stage.traffic.data > 0, data > 1);
            QCOMPARE(stage.traffic.pipeline > 0, pipeline > 1);
        }
        QCOMPARE(weights, config.model.parameterCount());
        QCOMPARE(layers, config.model.layers);
        QVERIFY(optimizer >= 8 * config.model.parameterCount());
        // Every rank's busy time at 1 GFLOP/s is the model's work.
        const double work = config.model.flopsPerToken() * static_cast<double>(config.tokensPerStep()) / 1e9;
        QVERIFY2(near(busy, work), qPrintable(QString("%1, not %2").arg(busy).arg(work)));
        // The closed form is no bound: a light first or last part shortens the ramp.
        QVERIFY(pipeline > 1 ? plan->bubbleShare > 0 && plan->bubbleShare < 1 : plan->bubbleShare < 1e-12);
    }

    /// What the engine lays out for a rank is what the plan counts, layer for layer and weight for weight.
    void theEngineHoldsWhatThePlanCounts_data() { everyMeshAddsUpToTheModel_data(); }
    void theEngineHoldsWhatThePlanCounts() {
        QFETCH(int, tensor);
        QFETCH(int, pipeline);
        QFETCH(int, data);
        QFETCH(int, chunks);
        for (const std::int64_t vocabulary : {272, 8000}) {
            config::RunConfig config = smallConfig(tensor, pipeline, data, chunks);
            config.model.vocabSize = vocabulary;
            const auto plan = makePlan(config);
            QVERIFY2(plan, plan ? "" : plan.error().text().c_str());
            for (int stage = 0; stage < pipeline; ++stage) {
                const StagePlan& planned = plan->stages[static_cast<std::size_t>(stage)];
                for (int tensorRank = 0; tensorRank < tensor; ++tensorRank) {
                    const model::ParallelShape shape = model::parallelShape(config, tensorRank, stage);
                    QCOMPARE(shape.chunks.size(), planned.parts.size());
                    for (std::size_t chunk = 0; chunk < planned.parts.size(); ++chunk) {
                        QCOMPARE(shape.chunks[chunk].first, planned.parts[chunk].first);
                        QCOMPARE(shape.chunks[chunk].count, planned.parts[chunk].count);
                    }
                    std::int64_t elements = 0, replicated = 0;
                    for (const model::ParameterInfo& weight : model::parameterLayout(config.model, shape)) {
                        elements += weight.size;
                        replicated += weight.replicatedOverTensor() ? weight.size : 0;
                    }
                    QCOMPARE(elements, planned.parameters.total());
                    QCOMPARE(replicated, planned.parameters.replicated);
                }
            }
        }
    }

    void recomputeCostsWorkAndSavesMemory() {
        config::RunConfig config = smallConfig(2, 2, 1, 1);
        const auto none = makePlan(config, 1e9);
        config.parallel.recompute = "full";
        const auto full = makePlan(config, 1e9);
        QVERIFY(none && full);
        QVERIFY(full->hardwareFlopsPerToken > none->hardwareFlopsPerToken);
        QCOMPARE(full->flopsPerToken, none->flopsPerToken); // model FLOPs count nothing twice
        QVERIFY(full->stepSeconds > none->stepSeconds);
        QVERIFY(full->stages[0].traffic.tensor > none->stages[0].traffic.tensor);
    }

    void sequenceParallelSplitsTheResidual() {
        config::RunConfig config = smallConfig(4, 1, 1, 1);
        const std::int64_t whole = layerActivationBytes(config, Recompute::Full);
        config.parallel.sequence = true;
        QCOMPARE(layerActivationBytes(config, Recompute::Full) * 4, whole);
    }

    void zeroBubbleStandsBesideTheOthers() {
        const auto plan = makePlan(bigConfig());
        QVERIFY(plan);
        std::map<std::string, double> bubble;
        for (const ScheduleOption& option : plan->options) {
            bubble[std::string(name(option.kind)) + std::to_string(option.chunks)] = option.bubbleShare;
        }
        QCOMPARE(bubble.size(), std::size_t{4});
        QVERIFY(near(bubble.at("1f1b1"), plan->bubbleShare));
        QVERIFY(bubble.at("interleaved2") < bubble.at("1f1b1"));
        QVERIFY(bubble.at("zero-bubble1") < bubble.at("interleaved2"));
    }

    void printsAndTellsJson() {
        const Outcome text = call({"plan", sourcePath("configs/tele_flm_52b.toml"), "--flops", "160T"});
        QCOMPARE(text.code, 0);
        for (const char* words : {"tensor 4 × data 112 × pipeline 2 = 896 ranks", "448–451", "52,817,829,888 parameters",
                                  "6,602,620,928", "12 micro-batches of 1 sequence", "attention causal", "tokens/s"}) {
            QVERIFY2(text.out.find(words) != std::string::npos, (std::string(words) + " is not in\n" + text.out).c_str());
        }
        const Outcome json = call({"plan", sourcePath("configs/tele_flm_52b.toml"), "--flops", "1.6e14", "--json"});
        const QJsonObject plan = QJsonDocument::fromJson(QByteArray::fromStdString(json.out)).object();
        QCOMPARE(plan["ranks"].toInt(), 896);
        QCOMPARE(plan["stages"].toArray().size(), 2);
        QCOMPARE(plan["stages"][0]["parameters"].toInteger(), 6'602'620'928);
        QCOMPARE(plan["stages"][1]["layers"][0]["first"].toInt(), 32);
        QVERIFY(plan["tokens_per_s"].toDouble() > 400'000);
    }

    void plansEveryShippedConfig_data() {
        QTest::addColumn<QString>("file");
        for (const char* file : {"tele_flm_52b.toml", "tele_flm_mup.toml", "demo_cpu.toml", "demo_3d_cpu.toml", "demo_cuda.toml"}) {
            QTest::newRow(file) << QString("configs/") + file;
        }
    }
    void plansEveryShippedConfig() {
        QFETCH(QString, file);
        const Outcome outcome = call({"plan", sourcePath(file.toStdString())});
        QVERIFY2(outcome.code == 0, outcome.err.c_str());
    }

    void moreMicroBatchesNeedNoMoreMessages() {
        config::RunConfig config = smallConfig(1, 2, 1, 2);
        const auto few = makePlan(config);
        config.batch.sequences *= 10;
        const auto many = makePlan(config);
        QVERIFY(few && many);
        for (std::size_t stage = 0; stage < 2; ++stage) {
            QCOMPARE(few->stages[stage].messageBytes, 2 * 64 * 64 * 4); // two gradients of T × C
            QCOMPARE(many->stages[stage].messageBytes, few->stages[stage].messageBytes);
        }
    }

    /// Weights and two moments in fp32 of a shard, copied before they are written.
    void theCheckpointsCopyIsCounted() {
        const config::RunConfig config = smallConfig(1, 2, 2, 1);
        const auto plan = makePlan(config), device = makePlan(bigConfig());
        QVERIFY(plan && device);
        const StagePlan& stage = plan->stages[0];
        QCOMPARE(stage.checkpointBytes, 12 * ((stage.parameters.total() + 1) / 2));
        QCOMPARE(stage.totalBytes(Recompute::None), stage.parameterBytes + stage.gradientBytes + stage.optimizerBytes + stage.activationBytes[0] +
                                                        stage.workBytes + stage.messageBytes + stage.checkpointBytes);
        // Beside a device it is the host's memory: as it comes from the device, and as it is written.
        QCOMPARE(device->stages[0].checkpointBytes, 2 * device->stages[0].optimizerBytes);
        QVERIFY(device->stages[0].isOnDevice);
        const Outcome text = call({"plan", sourcePath("configs/tele_flm_52b.toml")});
        QVERIFY(text.out.find("CHECKPOINT COPY") != std::string::npos && text.out.find("not in the total") != std::string::npos);
    }

    void refusals() {
        QVERIFY(call({"plan", "/no/such.toml"}).code != 0);
        const Outcome flops = call({"plan", sourcePath("configs/demo_cpu.toml"), "--flops", "fast"});
        QVERIFY(flops.code != 0);
        QVERIFY2(flops.err.find("\"fast\" is no speed; write FLOP/s as in 160T") != std::string::npos, flops.err.c_str());
        const Outcome ranks = call({"plan", changedConfig("configs/tele_flm_52b.toml", "data = 112", "data = 65536")});
        QVERIFY(ranks.code != 0);
        QVERIFY2(ranks.err.find("tensor (4) × data (65536) × pipeline (2) makes 524288 ranks; a job has at most 65536") != std::string::npos,
                 ranks.err.c_str());
        config::RunConfig config = smallConfig(1, 3, 1, 2);
        const auto plan = makePlan(config);
        QVERIFY(!plan);
        QCOMPARE(plan.error().text(),
                 "[parallel] schedule: interleaved: pipeline (3) does not divide the 16 micro-batches of a step");
    }
};

QTEST_GUILESS_MAIN(PlanTest)
#include "tst_plan.moc"
