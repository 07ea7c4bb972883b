// SPDX-License-Identifier: Apache-2.0
#include <QtTest>

#include <fstream>
#include <sstream>

#include "config/run_config.h"

using namespace telehelm;
using namespace telehelm::config;

namespace {

const std::string kBase = R"(name = "tiny" # the run
steps = 40

[model]
layers = 2
hidden_size = 32
attention_heads = 2
ffn_hidden_size = 48
vocab_size = 272
context_length = 32

[optimizer]
learning_rate = 0.01
matrix_learning_rate = 1e-2
minimum_learning_rate = 1e-3

[batch]
sequences = 4

[data]
seed = 7       # of the order

[data.mixture]
WebText = 60.0 # 网页 web
Code = 40.0
)";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    return at == std::string::npos ? "“" + from + "” is not in the text" : text.replace(at, from.size(), to);
}

std::string fileText(const std::string& name) {
    std::ifstream file(qEnvironmentVariable("TELEHELM_SOURCE").toStdString() + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

} // namespace

class ConfigTest : public QObject {
    Q_OBJECT
private slots:
    void readsEveryKey() {
        const auto config = parseRunConfig(kBase, "tiny.toml");
        QVERIFY2(config, config ? "" : config.error().text().c_str());
        QCOMPARE(config->name, std::string("tiny"));
        QCOMPARE(config->model.ffnHiddenSize, 48);
        QCOMPARE(config->optimizer.matrixLearningRate, 0.01);
        QCOMPARE(config->data.mixture.at("Code"), 40.0);
        QCOMPARE(config->checkpoint.keepLast, 5);
        QCOMPARE(config->tokensPerStep(), 128);
    }

    void shippedConfigsHoldTheReportsTables() {
        const auto big = parseRunConfig(fileText("configs/tele_flm_52b.toml"), "configs/tele_flm_52b.toml");
        QVERIFY2(big, big ? "" : big.error().text().c_str());
        QCOMPARE(big->model.parameterCount() / 1'000'000, 52'817);
        QCOMPARE(big->tokensPerStep(), 5'505'024);
        QCOMPARE(big->parallel.ranks(), 896);
        QCOMPARE(big->microBatches(), 12);
        QCOMPARE(big->optimizer.minimumLearningRate, 1.5e-5);
        QCOMPARE(big->data.mixture.size(), std::size_t{11});
        const auto mup = parseRunConfig(fileText("configs/tele_flm_mup.toml"), "configs/tele_flm_mup.toml");
        QVERIFY2(mup, mup ? "" : mup.error().text().c_str());
        QCOMPARE(mup->model.parameterCount() / 1'000'000, 281);
        const auto demo = parseRunConfig(fileText("configs/demo_cpu.toml"), "configs/demo_cpu.toml");
        QVERIFY2(demo, demo ? "" : demo.error().text().c_str());
        QCOMPARE(demo->parallel.data, 2);
    }

    void refuses_data() {
        QTest::addColumn<QString>("from");
        QTest::addColumn<QString>("to");
        QTest::addColumn<QString>("says");
        const auto row = [](const char* name, const char* from, const char* to, const char* says) {
            QTest::newRow(name) << QString::fromUtf8(from) << QString::fromUtf8(to) << QString::fromUtf8(says);
        };
        row("unknown key", "hidden_size", "hiden_size", "t.toml:6: [model] hiden_size: unknown key; did you mean hidden_size?");
        row("key of another table", "seed = 7", "clip_grad = 7",
            "t.toml:21: [data] clip_grad: unknown key; did you mean [optimizer] clip_grad?");
        row("nothing near", "seed = 7", "xylophones = 7",
            "t.toml:21: [data] xylophones: unknown key; valid ones: corpus seed mixture skip_batches");
        row("unknown table", "[optimizer]", "[optimiser]", "t.toml:12: [optimiser]: unknown table; did you mean [optimizer]?");
        row("wrong type", "layers = 2", "layers = \"2\"",
            "t.toml:5: [model] layers: wrong type (string); must be a whole number from 1 to 10000");
        row("not whole", "layers = 2", "layers = 2.5",
            "t.toml:5: [model] layers: wrong type (floating-point); must be a whole number from 1 to 10000");
        row("out of range", "steps = 40", "steps = 0",
            "t.toml:2: steps: 0 is out of range; must be a whole number of at least 1");
        row("choice", "steps = 40", "steps = 40\ndevice = \"gpu\"", "t.toml:3: device: \"gpu\" is not one of cpu|cuda");
        row("missing", "layers = 2\n", "",
            "t.toml:4: [model] layers: missing; it must be given (a whole number from 1 to 10000)");
        row("name", "\"tiny\"", "\"a b\"",
            "t.toml:1: name: \"a b\" is not a run's name; use letters, digits, '-', '_' and '.', not a '.' first");
        row("heads", "attention_heads = 2", "attention_heads = 3",
            "t.toml:7: [model] attention_heads: 3 heads do not divide hidden_size (32)");
        row("odd head", "attention_heads = 2", "attention_heads = 32",
            "t.toml:7: [model] attention_heads: the head size, hidden_size / attention_heads = 1, must be even: rotary "
            "embeddings turn pairs");
        row("mixture", "Code = 40.0", "Code = 39.0",
            "t.toml:23: [data] mixture: the shares add up to 99 %, not to 100 (off by -1)");
        row("share", "Code = 40.0", "Code = -1.0",
            "t.toml:25: [data.mixture] Code: -1 is out of range; a share is 0 to 100 percent");
        row("ranks", "[data]", "[parallel]\ndata = 3\n[data]",
            "t.toml:21: [parallel] data: 3 does not divide [batch] sequences (4)");
        row("micro", "sequences = 4", "sequences = 4\nmicro_sequences = 3",
            "t.toml:19: [batch] micro_sequences: 3 does not divide the 4 sequences of one data rank (sequences / [parallel] "
            "data)");
        row("too many ranks", "[data]", "[parallel]\ntensor = 2\npipeline = 65536\ndata = 32768\n[data]",
            "t.toml:23: [parallel] data: tensor (2) × data (32768) × pipeline (65536) makes 4294967296 ranks; a job has at most 65536");
        const char* schedule = "[batch] sequences / [parallel] data / [batch] micro_sequences)";
        const auto parallel = [&](const char* name, const char* keys, const QString& says) {
            row(name, "[data]", (QByteArray("[parallel]\n") + keys + "\n[data]").constData(), says.toUtf8().constData());
        };
        parallel("too deep", "pipeline = 3", "t.toml:21: [parallel] pipeline: pipeline (3) makes 3 parts, more than [model] layers (2); each needs a layer");
        parallel("chunks alone", "chunks = 2", "t.toml:21: [parallel] chunks: 2 need schedule = \"interleaved\"; 1f1b has 1");
        parallel("interleaved alone", "schedule = \"interleaved\"",
                 "t.toml:21: [parallel] schedule: interleaved needs chunks = 2 or more; 1f1b is the schedule with 1");
        parallel("micro-batches", "schedule = \"interleaved\"\nchunks = 2\npipeline = 2",
                 QString("t.toml:21: [parallel] schedule: interleaved: pipeline (2) does not divide the 1 micro-batches of a step (%1").arg(schedule));
        parallel("sequence", "sequence = 1", "t.toml:21: [parallel] sequence: wrong type (integer); must be true or false");
        parallel("recompute", "recompute = \"some\"", "t.toml:21: [parallel] recompute: \"some\" is not one of none|selective|full");
        parallel("parts", "pipeline = 2\nlayers = [2]", "t.toml:22: [parallel] layers: names 1 parts; pipeline (2) makes 2 parts");
        parallel("sum", "pipeline = 2\nlayers = [2, 1]", "t.toml:22: [parallel] layers: adds up to 3, not to [model] layers (2)");
        parallel("no layer", "pipeline = 2\nlayers = [2, 0]",
                 "t.toml:22: [parallel] layers: 0 is out of range; must be a list of whole numbers from 1 to 10000, as in [8, 8]");
        row("fault's phase", "[data]", "[faults]\ndie_step = 3\ndie_phase = \"lunch\"\n[data]",
            "t.toml:22: [faults] die_phase: \"lunch\" is not one of data|forward|backward|reduce|optimizer|gather|checkpoint|comm_tensor|comm_data|comm_pipeline");
        row("fault's rank", "[data]", "[faults]\nhang_step = 3\nhang_rank = 1\n[data]",
            "t.toml:22: [faults] hang_rank: 1 is not among the mesh's 1 ranks, which count from 0");
        row("a drift without replicas", "[data]", "[faults]\ndrift_step = 3\n[data]",
            "t.toml:21: [faults] drift_step: [parallel] tensor is 1: no weight has a replica to differ from");
        row("fault's layer", "[data]", "[faults]\nnan_step = 3\nnan_layer = 2\n[data]",
            "t.toml:22: [faults] nan_layer: 2 is not among [model] layers (2), which count from 0");
        row("retries", "[data]", "[restart_policy]\nmax_retries = -1\n[data]",
            "t.toml:21: [restart_policy] max_retries: -1 is out of range; must be a whole number from 0 to 1000");
        row("minimum rate", "minimum_learning_rate = 1e-3", "minimum_learning_rate = 1.0",
            "t.toml:15: [optimizer] minimum_learning_rate: must not be above learning_rate or matrix_learning_rate");
    }
    void refuses() {
        QFETCH(QString, from);
        QFETCH(QString, to);
        QFETCH(QString, says);
        const auto config = parseRunConfig(replaced(kBase, from.toStdString(), to.toStdString()), "t.toml");
        QVERIFY(!config);
        QCOMPARE(QString::fromStdString(config.error().text()), says);
    }

    void refusesBrokenToml() {
        const auto config = parseRunConfig("name = \n", "t.toml");
        QVERIFY(!config);
        QVERIFY2(config.error().text().starts_with("t.toml:1: not valid TOML"), config.error().text().c_str());
    }

    void overridesKeepWhatTheyDoNotTouch() {
        ConfigOverrides overrides;
        overrides.dataSeed = 99;
        overrides.lrScale = 0.5;
        overrides.skipBatches = 12;
        overrides.resumeCheckpoint = "/x/a1-step-00000010";
        overrides.mixturePercent = std::map<std::string, double>{{"WebText", 75.0}, {"Book", 25.0}};
        const auto text = applyOverrides(kBase, overrides);
        QVERIFY2(text, text ? "" : text.error().text().c_str());
        QVERIFY(text->find("name = \"tiny\" # the run\n") != std::string::npos);
        QVERIFY(text->find("seed = 99       # of the order\n") != std::string::npos);
        QVERIFY(text->find("WebText = 75.0 # 网页 web\n") != std::string::npos);
        QVERIFY(text->find("Code") == std::string::npos);
        const auto config = parseRunConfig(*text, "t.toml");
        QVERIFY(config);
        QCOMPARE(config->data.mixture, (std::map<std::string, double>{{"WebText", 75.0}, {"Book", 25.0}}));
        QCOMPARE(config->optimizer.lrScale, 0.5);
        QCOMPARE(config->data.skipBatches, 12);
        QCOMPARE(config->resume.checkpoint, std::string("/x/a1-step-00000010"));
        QCOMPARE(configDiff(kBase, *text),
                 std::string("[optimizer]\n+lr_scale = 0.5\n[data]\n-seed = 7       # of the order\n+skip_batches = 12\n"
                             "+seed = 99       # of the order\n[data.mixture]\n-WebText = 60.0 # 网页 web\n-Code = 40.0\n"
                             "+Book = 25.0\n+WebText = 75.0 # 网页 web\n+[resume]\n+checkpoint = \"/x/a1-step-00000010\"\n"
                             "+take = \"lr_scale seed skip_batches mixture\"\n"));
        QCOMPARE(config->resume.take, std::string("lr_scale seed skip_batches mixture"));
    }

    void overridesTwiceChangeTheSameLines() {
        ConfigOverrides overrides;
        overrides.resumeCheckpoint = "/a";
        overrides.clipGrad = 0.5;
        const auto once = applyOverrides(kBase, overrides);
        QVERIFY(once);
        overrides.resumeCheckpoint = "/b \"quoted\"";
        const auto twice = applyOverrides(*once, overrides);
        QVERIFY2(twice, twice ? "" : twice.error().text().c_str());
        QCOMPARE(configDiff(*once, *twice), std::string("[resume]\n-checkpoint = \"/a\"\n+checkpoint = \"/b \\\"quoted\\\"\"\n"));
    }

    void overridesInAnInlineTable() {
        const std::string text = replaced(replaced(kBase, "[data.mixture]\nWebText = 60.0 # 网页 web\nCode = 40.0\n", ""),
                                          "seed = 7", "mixture = { WebText = 60, Code = 40 } # both\nseed = 7");
        ConfigOverrides overrides;
        overrides.mixturePercent = std::map<std::string, double>{{"Code", 100.0}};
        const auto edited = applyOverrides(text, overrides);
        QVERIFY2(edited, edited ? "" : edited.error().text().c_str());
        QVERIFY(edited->find("mixture = { Code = 100.0 } # both\n") != std::string::npos);
    }

    void aWrongOverrideIsRefused() {
        ConfigOverrides overrides;
        overrides.mixturePercent = std::map<std::string, double>{{"Code", 90.0}};
        const auto edited = applyOverrides(kBase, overrides);
        QVERIFY(!edited);
        QVERIFY2(edited.error().text().find("add up to 90 %") != std::string::npos, edited.error().text().c_str());
    }

    void equalTextsHaveNoDiff() { QCOMPARE(configDiff(kBase, kBase), std::string()); }
};

QTEST_GUILESS_MAIN(ConfigTest)
#include "tst_config.moc"
