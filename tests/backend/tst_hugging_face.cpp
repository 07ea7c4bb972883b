// SPDX-License-Identifier: Apache-2.0
// Checkpoints to Hugging Face folders and back, by telehelm-rank; what a folder must be.
#include <QtTest>

#include <bit>
#include <fstream>
#include <functional>

#include <nlohmann/json.hpp>

#include "exchange/hugging_face.h"
#include "exchange/llama.h"
#include "exchange/safetensors.h"
#include "train/checkpoint_loader.h"
#include "train/checkpoint_store.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
using exchange::SafetensorsFile;
using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

struct State {
    std::vector<float> weights, first, second;
};

/// A checkpoint's whole state, however it was written.
State stateOf(const fs::path& checkpoint, const config::ModelConfig& model) {
    const auto manifest = train::verifyCheckpoint(checkpoint);
    if (!manifest) {
        throw std::runtime_error(manifest.error().text());
    }
    const auto layout = model::parameterLayout(model);
    const auto size = static_cast<std::size_t>(layout.back().offset + layout.back().size);
    State state{std::vector<float>(size), std::vector<float>(size), std::vector<float>(size)};
    const train::Shard all{.from = 0,
                           .to = static_cast<std::int64_t>(size),
                           .parameters = state.weights,
                           .firstMoment = state.first,
                           .secondMoment = state.second};
    if (auto loaded = train::loadShard(checkpoint, *manifest, layout, all); !loaded) {
        throw std::runtime_error(loaded.error().text());
    }
    return state;
}

std::string raw(const std::string& header, std::size_t dataBytes) {
    std::string file(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) {
        file[i] = static_cast<char>(header.size() >> (8 * i));
    }
    return file + header + std::string(dataBytes, '\1');
}

} // namespace

class HuggingFaceTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    std::string m_toml;
    config::RunConfig m_config;
    fs::path m_checkpoint, m_exported;

    fs::path folder(const std::string& name) const { return fs::path(m_dir.path().toStdString()) / name; }
    struct Ended {
        int exitCode;
        QString output;
    };
    Ended rank(const fs::path& config, const QStringList& more) const {
        QProcess job;
        job.setProcessChannelMode(QProcess::MergedChannels);
        job.start(qEnvironmentVariable("TELEHELM_BIN") + "/telehelm-rank",
                  QStringList{"--config", QString::fromStdString(config), "--threads", "1"} + more);
        return job.waitForFinished(60'000) ? Ended{job.exitCode(), QString::fromUtf8(job.readAll())} : Ended{-1, "did not end"};
    }
    static QString text(const fs::path& path) { return QString::fromStdString(path.string()); }
    std::string importError(const fs::path& from, const config::RunConfig& config) const {
        fs::remove_all(folder("refused"));
        const auto done = exchange::importHuggingFace(from, config, "0", {"tiny", 1}, folder("refused"));
        return done ? "" : done.error().text();
    }
    fs::path copyOfExport() const {
        fs::remove_all(folder("copy"));
        fs::copy(m_exported, folder("copy"));
        return folder("copy");
    }

private slots:
    void initTestCase() {
        makeTinyCorpus(folder("corpus"));
        m_toml = tinyConfig(folder("corpus"));
        const auto at = m_toml.find("[model]\n") + 8;
        m_toml.insert(at, "input_mult = 4.0\noutput_mult = 0.5\n");
        std::ofstream(folder("run.toml")) << m_toml;
        m_config = parsed(m_toml);
        RecordingLink link;
        runTraining(m_config, folder("checkpoints"), link, 1, [](train::TrainerOptions& options) { options.lastStep = 5; });
        m_checkpoint = folder("checkpoints") / "a1-step-00000005";
        m_exported = folder("hf");
        const Ended ended = rank(folder("run.toml"), {"--export-hf", text(m_exported), "--checkpoint", text(m_checkpoint)});
        QVERIFY2(ended.exitCode == 0, qPrintable(ended.output));
        QVERIFY2(ended.output.contains("12 tensors, "), qPrintable(ended.output));
    }

    void configDescribesTheModel() {
        const Json json = Json::parse(*train::readWhole(m_exported / "config.json"));
        QCOMPARE(json.at("architectures"), Json({"LlamaForCausalLM"}));
        QCOMPARE(json.at("model_type"), Json("llama"));
        QCOMPARE(json.at("hidden_size"), Json(m_config.model.hiddenSize));
        QCOMPARE(json.at("intermediate_size"), Json(m_config.model.ffnHiddenSize));
        QCOMPARE(json.at("num_hidden_layers"), Json(m_config.model.layers));
        QCOMPARE(json.at("num_attention_heads"), Json(m_config.model.attentionHeads));
        QCOMPARE(json.at("num_key_value_heads"), Json(m_config.model.attentionHeads));
        QCOMPARE(json.at("vocab_size"), Json(m_config.model.vocabSize));
        QCOMPARE(json.at("max_position_embeddings"), Json(m_config.model.contextLength));
        QCOMPARE(json.at("rms_norm_eps"), Json(m_config.model.normEpsilon));
        QCOMPARE(json.at("rope_theta"), Json(m_config.model.ropeTheta));
        QCOMPARE(json.at("tie_word_embeddings"), Json(false));
        QCOMPARE(json.at("hidden_act"), Json("silu"));
        QCOMPARE(json.at("torch_dtype"), Json("float32"));
    }

    /// Each of theirs, by name, is the right rows of ours times the right multiplier.
    void tensorsAreOurs() {
        const State state = stateOf(m_checkpoint, m_config.model);
        const auto file = SafetensorsFile::open(m_exported / "model.safetensors");
        QVERIFY(file);
        QCOMPARE(file->metadata().at("format"), std::string("pt"));
        QCOMPARE(file->metadata().at("telehelm_step"), std::string("5"));
        const auto layout = model::parameterLayout(m_config.model);
        const std::int64_t C = m_config.model.hiddenSize, F = m_config.model.ffnHiddenSize;
        const auto check = [&](const std::string& theirs, const std::string& ours, std::int64_t row, float factor) {
            const auto meta = std::ranges::find(file->tensors(), theirs, &exchange::TensorMeta::name);
            const auto info = std::ranges::find(layout, ours, &model::ParameterInfo::name);
            std::vector<float> values(static_cast<std::size_t>(meta->elements()));
            const std::int64_t columns = info->shape.size() == 2 ? info->shape[1] : 1;
            if (!file->read(*meta, 0, values)) {
                return false;
            }
            const auto from = state.weights.begin() + info->offset + row * columns;
            return std::equal(values.begin(), values.end(), from, [&](float a, float b) { return a == b * factor; });
        };
        QVERIFY(check("model.embed_tokens.weight", "embedding", 0, 4.0F));
        QVERIFY(check("lm_head.weight", "head", 0, 0.5F));
        QVERIFY(check("model.norm.weight", "norm", 0, 1));
        QVERIFY(check("model.layers.0.input_layernorm.weight", "layers.0.attention.norm", 0, 1));
        QVERIFY(check("model.layers.0.post_attention_layernorm.weight", "layers.0.ffn.norm", 0, 1));
        QVERIFY(check("model.layers.0.self_attn.q_proj.weight", "layers.0.attention.qkv", 0, 1));
        QVERIFY(check("model.layers.0.self_attn.k_proj.weight", "layers.0.attention.qkv", C, 1));
        QVERIFY(check("model.layers.0.self_attn.v_proj.weight", "layers.0.attention.qkv", 2 * C, 1));
        QVERIFY(check("model.layers.0.self_attn.o_proj.weight", "layers.0.attention.out", 0, 1));
        QVERIFY(check("model.layers.0.mlp.gate_proj.weight", "layers.0.ffn.gate_up", 0, 1));
        QVERIFY(check("model.layers.0.mlp.up_proj.weight", "layers.0.ffn.gate_up", F, 1));
        QVERIFY(check("model.layers.0.mlp.down_proj.weight", "layers.0.ffn.down", 0, 1));
    }

    /// The exported weights in a model without multipliers give the same losses, to the bit: both multipliers are powers of 2.
    void theFoldedModelComputesTheSame() {
        config::RunConfig plain = m_config;
        plain.model.inputMult = plain.model.outputMult = 1;
        QVERIFY(exchange::importHuggingFace(m_exported, plain, "0", {"tiny", 1}, folder("plain")));
        std::vector<std::vector<float>> losses;
        for (const auto& [model, checkpoint] :
             {std::pair(m_config.model, m_checkpoint), std::pair(plain.model, folder("plain") / "a1-step-00000000")}) {
            const auto engine = model::makeCpuModel(model, 1, 1);
            std::ranges::copy(stateOf(checkpoint, model).weights, engine->parameters().begin());
            std::vector<std::int32_t> tokens(static_cast<std::size_t>(model.contextLength)), targets(tokens.size());
            for (std::size_t i = 0; i < tokens.size(); ++i) {
                tokens[i] = static_cast<std::int32_t>(i * 7 % static_cast<std::size_t>(model.vocabSize));
                targets[i] = static_cast<std::int32_t>((i + 1) * 7 % static_cast<std::size_t>(model.vocabSize));
            }
            losses.emplace_back(tokens.size());
            engine->evaluate(tokens, targets, losses.back());
        }
        QVERIFY(losses[0] == losses[1]);
    }

    void roundTripIsExact() {
        const Ended ended = rank(folder("run.toml"), {"--import-hf", text(m_exported), "--checkpoint-dir", text(folder("back"))});
        QVERIFY2(ended.exitCode == 0, qPrintable(ended.output));
        const State before = stateOf(m_checkpoint, m_config.model);
        const State after = stateOf(folder("back") / "a1-step-00000000", m_config.model);
        QVERIFY(after.weights == before.weights);
        QVERIFY(std::ranges::all_of(after.first, [](float value) { return value == 0; }));
        QVERIFY(std::ranges::all_of(after.second, [](float value) { return value == 0; }));
        // It trains on from there.
        RecordingLink link;
        runTraining(m_config, folder("back"), link, 1, [](train::TrainerOptions& options) { options.lastStep = 2; });
        QCOMPARE(link.points.at("train/loss").front().step, 1);
        QVERIFY(link.values("train/loss").front() < 0.99 * std::log(m_config.model.vocabSize)); // learnt before
        const Ended again = rank(folder("run.toml"), {"--import-hf", text(m_exported), "--checkpoint-dir", text(folder("back"))});
        QCOMPARE(again.exitCode, 4);
        QVERIFY2(again.output.contains("attempt 1 has checkpoints already"), qPrintable(again.output));
    }

    void aFewFilesWithAnIndex() {
        const auto manifest = train::readManifest(m_checkpoint);
        const auto done = exchange::exportHuggingFace(m_checkpoint, *manifest, m_config.model, folder("pieces"), 20'000);
        QVERIFY2(done, done ? "" : done.error().text().c_str());
        QVERIFY(fs::exists(folder("pieces") / "model.safetensors.index.json"));
        QVERIFY(!fs::exists(folder("pieces") / "model.safetensors"));
        const auto back = exchange::importHuggingFace(folder("pieces"), m_config, "0", {"tiny", 1}, folder("fromPieces"));
        QVERIFY2(back, back ? "" : back.error().text().c_str());
        QVERIFY(stateOf(back->folder, m_config.model).weights == stateOf(m_checkpoint, m_config.model).weights);
    }

    void usageIsChecked() {
        const Ended twice = rank(folder("run.toml"), {"--export-hf", text(m_exported), "--checkpoint", text(m_checkpoint)});
        QCOMPARE(twice.exitCode, 4);
        QVERIFY2(twice.output.contains("has a model already"), qPrintable(twice.output));
        QCOMPARE(rank(folder("run.toml"), {"--export-hf", "x", "--import-hf", "y"}).exitCode, 2);
        const Ended none =
            rank(folder("run.toml"), {"--export-hf", text(folder("none")), "--checkpoint-dir", text(folder("empty"))});
        QCOMPARE(none.exitCode, 4);
        QVERIFY2(none.output.contains("has no checkpoint; name one with --checkpoint"), qPrintable(none.output));
        config::RunConfig wider = m_config;
        wider.model.ffnHiddenSize = 64;
        const auto other =
            exchange::exportHuggingFace(m_checkpoint, *train::readManifest(m_checkpoint), wider.model, folder("wider"));
        QVERIFY(!other);
        QVERIFY2(other.error().text().find("layers.0.ffn.gate_up is 96 × 32 in the checkpoint but 128 × 32") != std::string::npos,
                 other.error().text().c_str());
    }

    void aConfigOfAnotherModelIsRefused_data() {
        QTest::addColumn<QString>("key");
        QTest::addColumn<QString>("value");
        QTest::addColumn<QString>("says");
        QTest::newRow("layers") << "num_hidden_layers"
                                << "2"
                                << "num_hidden_layers is 2 but by the config's [model] it must be 1";
        QTest::newRow("grouped queries") << "num_key_value_heads"
                                         << "1"
                                         << "grouped queries cannot be imported";
        QTest::newRow("tied") << "tie_word_embeddings"
                              << "true"
                              << "tie_word_embeddings is true";
        QTest::newRow("epsilon") << "rms_norm_eps"
                                 << "1e-6"
                                 << "rms_norm_eps is 1e-06";
        QTest::newRow("theta") << "rope_theta"
                               << "500000"
                               << "rope_theta is 500000";
        QTest::newRow("scaled RoPE") << "rope_scaling"
                                     << R"({"rope_type": "yarn"})"
                                     << "scales RoPE";
        QTest::newRow("another kind") << "model_type"
                                      << "\"qwen2\""
                                      << "model_type is \"qwen2\"";
        QTest::newRow("missing") << "hidden_size"
                                 << "null"
                                 << "hidden_size is missing";
    }
    void aConfigOfAnotherModelIsRefused() {
        QFETCH(QString, key);
        QFETCH(QString, value);
        QFETCH(QString, says);
        const fs::path other = copyOfExport();
        Json json = Json::parse(*train::readWhole(other / "config.json"));
        json[key.toStdString()] = Json::parse(value.toStdString());
        std::ofstream(other / "config.json") << json.dump();
        const std::string error = importError(other, m_config);
        QVERIFY2(error.find(says.toStdString()) != std::string::npos, error.c_str());
    }

    void tensorsOfAnotherModelAreRefused() {
        const auto rewritten =
            [&](const std::function<void(std::vector<std::pair<std::string, std::vector<std::int64_t>>>&)>& edit) {
                const fs::path other = copyOfExport();
                std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors;
                for (const exchange::LlamaTensor& tensor : exchange::llamaTensors(m_config.model)) {
                    tensors.emplace_back(tensor.name, tensor.shape);
                }
                edit(tensors);
                auto file = exchange::SafetensorsWriter::create(other / "model.safetensors", tensors, {});
                for (const auto& [name, shape] : tensors) {
                    const std::vector<float> zeros(static_cast<std::size_t>(shape.size() == 2 ? shape[0] * shape[1] : shape[0]));
                    if (!file->write(zeros)) {
                        return std::string("cannot write");
                    }
                }
                return file->close() ? importError(other, m_config) : std::string("cannot close");
            };
        const std::string shape = rewritten([](auto& tensors) { tensors[1].second = {31}; });
        QVERIFY2(shape.find("model.safetensors: model.layers.0.input_layernorm.weight is 31 but 32 by the config") !=
                     std::string::npos,
                 shape.c_str());
        const std::string missing = rewritten([](auto& tensors) { tensors.pop_back(); });
        QVERIFY2(missing.find("lm_head.weight (") != std::string::npos && missing.find("is missing") != std::string::npos,
                 missing.c_str());
        const std::string more =
            rewritten([](auto& tensors) { tensors.emplace_back("model.layers.1.x", std::vector<std::int64_t>{4}); });
        QVERIFY2(more.find("model.layers.1.x (4) has no place") != std::string::npos, more.c_str());
        QVERIFY(!fs::exists(folder("refused") / "a1-step-00000000"));
    }

    void malformedFilesAreRefused_data() {
        QTest::addColumn<QByteArray>("file");
        QTest::addColumn<QString>("says");
        const auto row = [](const char* name, const std::string& file, const char* says) {
            QTest::newRow(name) << QByteArray::fromStdString(file) << QString(says);
        };
        const auto tensor = [](const char* fields) { return std::string(R"({"a":{)") + fields + "}}"; };
        row("empty", "", "it has 0 bytes");
        row("only a length", std::string(8, '\xff'), "are the most");
        row("header cut off", raw("{}", 0).substr(0, 9), "its header should have 2 bytes; 1 are there");
        row("no JSON", raw("{\"a\":", 0), "parse error");
        row("no object", raw("[]", 0), "is no JSON object");
        row("fields", raw(tensor(R"("dtype":"F32","shape":[1])"), 4), "a must have exactly");
        row("dtype", raw(tensor(R"("dtype":"I64","shape":[1],"data_offsets":[0,8])"), 8), "a is of dtype I64; F32, F16 and BF16");
        row("negative", raw(tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4), "a has -1 where");
        row("fraction", raw(tensor(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,4])"), 4), "a has 1.5 where");
        row("overflow", raw(tensor(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])"), 0), "too large");
        row("shape against offsets", raw(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), 4), "takes 8 bytes, but");
        row("backwards", raw(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), 4), "its data_offsets are 4 and 0");
        row("cut off", raw(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 4), "the file is cut off");
        row("more data", raw(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), 8), "take 4 bytes, but 8 follow");
        row("hole", raw(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), 8), "a begins at byte 4");
        row("overlap",
            raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                8),
            "b begins at byte 4 of the data, but the tensors before it reach to 8");
        row("twice",
            raw(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                4),
            "names \"a\" twice");
    }
    void malformedFilesAreRefused() {
        QFETCH(QByteArray, file);
        QFETCH(QString, says);
        std::ofstream(folder("bad.safetensors"), std::ios::binary) << file.toStdString();
        const auto opened = SafetensorsFile::open(folder("bad.safetensors"));
        QVERIFY(!opened);
        QVERIFY2(opened.error().text().find(says.toStdString()) != std::string::npos, opened.error().text().c_str());
        QVERIFY(opened.error().text().find("bad.safetensors") != std::string::npos);
    }

    void halvesAreRead() {
        const std::vector<std::uint16_t> bf16 = {0x3F80, 0xC000, 0x7F80}, f16 = {0x3C00, 0xC000, 0x0001, 0x7C00, 0x8000};
        std::string file = raw(
            R"({"b":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},"h":{"dtype":"F16","shape":[5],"data_offsets":[6,16]}})",
            0);
        for (const auto& values : {bf16, f16}) {
            file.append(reinterpret_cast<const char*>(values.data()), values.size() * 2);
        }
        std::ofstream(folder("halves.safetensors"), std::ios::binary) << file;
        const auto opened = SafetensorsFile::open(folder("halves.safetensors"));
        QVERIFY2(opened, opened ? "" : opened.error().text().c_str());
        std::vector<float> b(3), h(5);
        QVERIFY(opened->read(opened->tensors()[0], 0, b) && opened->read(opened->tensors()[1], 0, h));
        const float infinity = std::numeric_limits<float>::infinity();
        QVERIFY(b == (std::vector<float>{1, -2, infinity}));
        QVERIFY(h == (std::vector<float>{1, -2, 0x1.0p-24F, infinity, 0}));
        QVERIFY(std::signbit(h[4]));
        QVERIFY(!opened->read(opened->tensors()[0], 2, b)); // beyond its end
    }
};

QTEST_GUILESS_MAIN(HuggingFaceTest)
#include "tst_hugging_face.moc"
