// SPDX-License-Identifier: Apache-2.0
// Loss and gradients against PyTorch, by way of the Hugging Face export. Skipped where no Python has torch.
#include <QtTest>

#include <fstream>

#include <nlohmann/json.hpp>

#include "exchange/hugging_face.h"
#include "exchange/llama.h"
#include "exchange/safetensors.h"
#include "python.h"
#include "train/checkpoint_loader.h"
#include "train/checkpoint_store.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
namespace fs = std::filesystem;

class OracleTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;

    fs::path folder(const std::string& name) const { return fs::path(m_dir.path().toStdString()) / name; }
    static bool run(const QString& python, const QStringList& arguments, QByteArray& output) {
        QProcess process;
        process.setProcessChannelMode(QProcess::MergedChannels);
        process.start(python, arguments);
        const bool ended = process.waitForFinished(100'000);
        output = process.readAll();
        return ended && process.exitStatus() == QProcess::NormalExit && process.exitCode() == 0;
    }

private slots:
    void lossAndGradientsAreTorchs() {
        const QString python = pythonWith("torch");
        if (python.isEmpty())
            QSKIP("no Python here has torch (Debian: python3-torch; TELEHELM_PYTHON names an interpreter)");
        makeTinyCorpus(folder("corpus"));
        config::RunConfig config = parsed(tinyConfig(folder("corpus")));
        config.model.layers = 3;
        config.model.inputMult = 3; // no power of 2
        config.model.outputMult = 0.7;
        RecordingLink link; // a few steps: norms are no longer 1
        const Training training =
            runTraining(config, folder("checkpoints"), link, 1, [](train::TrainerOptions& options) { options.lastStep = 5; });
        const fs::path checkpoint = folder("checkpoints") / "a1-step-00000005";
        const auto exported =
            exchange::exportHuggingFace(checkpoint, *train::readManifest(checkpoint), config.model, folder("hf"));
        QVERIFY2(exported, exported ? "" : exported.error().text().c_str());
        QVERIFY(!exported->exact);

        const auto length = static_cast<std::size_t>(config.model.contextLength);
        std::vector<std::int32_t> inputs(2 * length), targets(2 * length);
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            inputs[i] = static_cast<std::int32_t>(i * i * 31 % 272);
            targets[i] = static_cast<std::int32_t>((i * i + 5) * 17 % 272);
        }
        const auto engine = model::makeCpuModel(config.model, 2, 1);
        std::ranges::copy(training.parameters, engine->parameters().begin());
        const double nats = engine->trainMicroBatch(inputs, targets, 1.0F / static_cast<float>(inputs.size()));

        const auto rows = [&](const std::vector<std::int32_t>& tokens) {
            const auto half = tokens.begin() + static_cast<std::ptrdiff_t>(length);
            return std::vector{std::vector<std::int32_t>(tokens.begin(), half), std::vector<std::int32_t>(half, tokens.end())};
        };
        std::ofstream(folder("batch.json")) << nlohmann::json{{"inputs", rows(inputs)}, {"targets", rows(targets)}}.dump();
        const QString script = qEnvironmentVariable("TELEHELM_SOURCE") + "/tests/backend/oracle_llama.py";
        QStringList arguments = {script};
        for (const char* name : {"hf", "batch.json", "gradients.safetensors"}) {
            arguments += QString::fromStdString(folder(name).string());
        }
        QByteArray output;
        QVERIFY2(run(python, arguments, output), output.constData());

        const auto theirs = exchange::SafetensorsFile::open(folder("gradients.safetensors"));
        QVERIFY2(theirs, theirs ? "" : theirs.error().text().c_str());
        const double loss = std::stod(theirs->metadata().at("loss")), ours = nats / static_cast<double>(inputs.size());
        QVERIFY2(std::abs(ours - loss) <= 1e-5 * loss, qPrintable(QString("loss %1, torch %2").arg(ours).arg(loss)));
        compareGradients(config.model, *engine, *theirs);
    }

private:
    /// Theirs are of weights × factor, so ours are factor times as large. The bound is a hundredth of a percent of the tensor's
    /// largest entry; a wrong sign, scale, row or pair of RoPE is off by the entry itself.
    static void compareGradients(const config::ModelConfig& model, model::Model& engine,
                                 const exchange::SafetensorsFile& theirs) {
        const auto tensors = exchange::llamaTensors(model);
        QCOMPARE(theirs.tensors().size(), tensors.size());
        double worst = 0;
        for (const exchange::LlamaTensor& tensor : tensors) {
            const auto meta = std::ranges::find(theirs.tensors(), tensor.name, &exchange::TensorMeta::name);
            const auto info = std::ranges::find(engine.layout(), tensor.ours, &model::ParameterInfo::name);
            QVERIFY2(meta != theirs.tensors().end() && meta->elements() == tensor.size, tensor.name.c_str());
            std::vector<float> values(static_cast<std::size_t>(tensor.size));
            QVERIFY(theirs.read(*meta, 0, values));
            const auto own = engine.gradients().subspan(static_cast<std::size_t>(info->offset + tensor.first), values.size());
            double largest = 0, off = 0;
            for (std::size_t i = 0; i < values.size(); ++i) {
                const double wanted = static_cast<double>(values[i]) * static_cast<double>(tensor.factor);
                largest = std::max(largest, std::abs(wanted));
                off = std::max(off, std::abs(wanted - static_cast<double>(own[i])));
            }
            QVERIFY2(largest > 0 && off <= 1e-4 * largest,
                     qPrintable(QString("%1: off by %2 of %3").arg(tensor.name.c_str()).arg(off).arg(largest)));
            worst = std::max(worst, off / largest);
        }
        qInfo("%zu gradients agree; the worst is off by %.1e of its tensor's largest", tensors.size(), worst);
    }
};

QTEST_GUILESS_MAIN(OracleTest)
#include "tst_oracle.moc"
