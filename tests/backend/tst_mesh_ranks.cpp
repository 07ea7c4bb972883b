// SPDX-License-Identifier: Apache-2.0
// Tensor, pipeline and data ranks as real processes over MPI: against one rank, resume across meshes, and what is refused before
// any of them trains.
#include <QtTest>

#include <cmath>
#include <csignal>

#include "rank_rig.h"
#include "train/checkpoint_store.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
namespace fs = std::filesystem;

namespace {

constexpr int kSteps = 20;

void replace(std::string& text, const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
}

} // namespace

class MeshRanksTest : public QObject {
    Q_OBJECT

    RankPlace m_place;
    std::string m_toml;

    /// `mesh`: lines of [parallel].
    std::string on(const std::string& mesh, const std::string& extra = {}) const {
        std::string text = m_toml;
        replace(text, "[parallel]\ndata = 1", "[parallel]\n" + mesh);
        return text + extra;
    }
    Ended train(const std::string& run, int ranks, const std::string& toml, const QStringList& more = {}) const {
        return m_place.rank(ranks, m_place.write(run + ".toml", toml), run, more);
    }
    double lossOf(const std::string& run, int step = kSteps) const { return train::readManifest(m_place.checkpoint(run, step))->trainLoss; }

private slots:
    void initTestCase() {
        if (!RankPlace::haveMpirun()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        makeTinyCorpus(m_place.folder("corpus"));
        m_toml = tinyConfig(m_place.folder("corpus"));
        replace(m_toml, "layers = 1", "layers = 4");
        replace(m_toml, "sequences = 6", "sequences = 8");
        const Ended alone = train("alone", 1, on("data = 1"));
        QVERIFY2(alone.exitCode == 0, qPrintable(alone.output));
    }

    void meshesTrainAsOneRank_data() {
        QTest::addColumn<int>("ranks");
        QTest::addColumn<QString>("mesh");
        QTest::newRow("tensor-2-pipeline-2") << 4 << "tensor = 2\npipeline = 2\nsequence = true\nlayers = [1, 3]";
        QTest::newRow("tensor-2-data-2") << 4 << "tensor = 2\ndata = 2";
        QTest::newRow("pipeline-2-data-2-interleaved") << 4 << "pipeline = 2\ndata = 2\nschedule = \"interleaved\"\nchunks = 2";
        QTest::newRow("all-axes") << 8 << "tensor = 2\npipeline = 2\ndata = 2\nsequence = true\nrecompute = \"full\"";
    }
    void meshesTrainAsOneRank() {
        QFETCH(int, ranks);
        QFETCH(QString, mesh);
        const std::string run = QTest::currentDataTag();
        const Ended end = train(run, ranks, on(mesh.toStdString()));
        QVERIFY2(end.exitCode == 0, qPrintable(end.output));
        // 20 steps of fp32 rounding: 1e-6. A micro-batch left out, a gradient not summed or a stage's wrong layers: > 1e-2.
        const double loss = lossOf(run), expected = lossOf("alone");
        QVERIFY2(std::abs(loss - expected) < 2e-4, qPrintable(QString("%1, one rank: %2").arg(loss, 0, 'g', 9).arg(expected, 0, 'g', 9)));
        const std::vector<float> state = stateOf(m_place.checkpoint(run, kSteps), parsed(on("data = 1")));
        const std::vector<float> one = stateOf(m_place.checkpoint("alone", kSteps), parsed(on("data = 1")));
        double worst = 0;
        for (std::size_t i = 0; i < state.size() / 3; ++i) {
            worst = std::max(worst, static_cast<double>(std::abs(state[i] - one[i])));
        }
        QVERIFY2(worst < 2e-3, qPrintable(QString("parameters differ by %1").arg(worst))); // a step moves them by up to 1e-2
    }

    /// Killed in the midst, on the same mesh: the same bits. On another mesh: the same within rounding.
    void resumesAcrossProcessesAndMeshes() {
        const std::string mesh = "tensor = 2\npipeline = 2\nsequence = true\nlayers = [1, 3]";
        QCOMPARE(train("cut", 4, on(mesh), {"--steps", "10"}).exitCode, 0);
        const Ended rest = train("cut", 4, on(mesh));
        QVERIFY2(rest.exitCode == 0 && rest.output.contains("starts from step 10 of a1-step-00000010"), qPrintable(rest.output));
        const auto straight = train::readManifest(m_place.checkpoint("tensor-2-pipeline-2", kSteps));
        const auto cut = train::readManifest(m_place.checkpoint("cut", kSteps));
        QVERIFY(straight && cut);
        QCOMPARE(cut->files.size(), std::size_t{4});
        for (std::size_t i = 0; i < cut->files.size(); ++i) {
            QCOMPARE(cut->files[i].xxh3, straight->files[i].xxh3);
        }
        const std::string resume = "\n[resume]\ncheckpoint = \"" + m_place.checkpoint("cut", 10).string() + "\"\n";
        const Ended other = train("other", 2, on("pipeline = 2\nschedule = \"interleaved\"\nchunks = 2", resume));
        QVERIFY2(other.exitCode == 0 && other.output.contains("from step 10"), qPrintable(other.output));
        QVERIFY(std::abs(lossOf("other") - lossOf("cut")) < 2e-4);
    }

    /// Whatever mesh wrote a checkpoint, Hugging Face's folder and back is the same model, and another mesh trains on from it.
    void exportsAndImportsAcrossMeshes() {
        const std::string mesh = "tensor = 2\npipeline = 2\nsequence = true\nlayers = [1, 3]";
        const QString config = m_place.write("hf.toml", on(mesh));
        const QString hf = QString::fromStdString(m_place.folder("hf").string());
        const Ended out = m_place.rank(1, config, "tensor-2-pipeline-2", {"--export-hf", hf});
        QVERIFY2(out.exitCode == 0, qPrintable(out.output));
        const Ended in = m_place.rank(1, config, "imported", {"--import-hf", hf});
        QVERIFY2(in.exitCode == 0, qPrintable(in.output));
        std::vector<float> before = stateOf(m_place.checkpoint("tensor-2-pipeline-2", kSteps), parsed(on("data = 1")));
        std::vector<float> after = stateOf(m_place.checkpoint("imported", 0), parsed(on("data = 1")));
        before.resize(before.size() / 3);
        after.resize(after.size() / 3);
        QVERIFY(before == after);
        const Ended on = train("imported", 2, this->on("tensor = 2"), {"--steps", "3"});
        QVERIFY2(on.exitCode == 0 && on.output.contains("from step 0 of a1-step-00000000"), qPrintable(on.output));
        const Ended many = m_place.rank(2, config, "many", {"--export-hf", hf});
        QVERIFY2(many.exitCode != 0 && many.output.contains("work in one process"), qPrintable(many.output));
    }

    void sigtermToOneRankSavesAll() {
        std::string text = on("tensor = 2\npipeline = 2");
        replace(text, "steps = 20", "steps = 1000000");
        QProcess job;
        m_place.start(job, 4, m_place.write("long.toml", text), "term");
        QByteArray output = RankPlace::waitForStep(job, 7);
        const std::vector<pid_t> found = m_place.pids("term");
        QCOMPARE(found.size(), std::size_t{4});
        kill(found[2], SIGTERM);
        QVERIFY(job.waitForFinished(60'000));
        output += job.readAll();
        QVERIFY2(job.exitCode() == 0 && output.contains("Stopped by a signal after step "), output.constData());
        QVERIFY(train::verifyCheckpoint(train::listCheckpoints(m_place.folder("term") / "checkpoints").front().path));
    }

    void refusals_data() {
        QTest::addColumn<int>("ranks");
        QTest::addColumn<QString>("from");
        QTest::addColumn<QString>("to");
        QTest::addColumn<QString>("mesh");
        QTest::addColumn<int>("exitCode");
        QTest::addColumn<QStringList>("says");
        const auto row = [](const char* name, int ranks, const char* mesh, int code, const QStringList& says, const char* from = "", const char* to = "") {
            QTest::newRow(name) << ranks << from << to << mesh << code << says;
        };
        row("ranks", 2, "tensor = 2\npipeline = 2", 2, {"makes 4 ranks, but 2 were started", "mpirun -np 4"});
        row("heads", 4, "tensor = 4", 2, {"bad.toml:", "[parallel] tensor: 4 does not divide [model] attention_heads (2)"});
        // The config alone is refused before ranks are counted: one process shows the same.
        row("ffn", 1, "tensor = 2", 2, {"[parallel] tensor: 2 does not divide [model] ffn_hidden_size (47)"}, "ffn_hidden_size = 48", "ffn_hidden_size = 47");
        row("vocabulary", 1, "tensor = 2", 2, {"[parallel] tensor: 2 does not divide [model] vocab_size (273)"}, "vocab_size = 272", "vocab_size = 273");
        row("sequence", 1, "tensor = 2\nsequence = true", 2, {"[parallel] sequence: tensor = 2 does not divide [model] context_length (31)"},
            "context_length = 32", "context_length = 31");
        row("layers", 1, "pipeline = 8", 2, {"pipeline (8) makes 8 parts, more than [model] layers (4)"});
        row("uneven layers", 1, "pipeline = 2\nlayers = [1, 2]", 2, {"[parallel] layers: adds up to 3, not to [model] layers (4)"});
        row("micro-batches", 1, "pipeline = 2\nschedule = \"interleaved\"\nchunks = 2", 2, {"pipeline (2) does not divide the 1 micro-batches"},
            "micro_sequences = 1", "micro_sequences = 8");
        row("data", 1, "data = 3", 2, {"[parallel] data: 3 does not divide [batch] sequences (8)"});
        // Checkpoints, each refused by all ranks with one line.
        row("another width", 4, "tensor = 2\npipeline = 2\n@alone", 4, {"32 in the checkpoint but ", "64", "[model] must be the one that wrote it"},
            "hidden_size = 32", "hidden_size = 64");
        row("more layers", 4, "tensor = 2\npipeline = 2\n@alone", 4, {"layers.4.", "is missing in the checkpoint"}, "layers = 4", "layers = 6");
        row("other heads", 4, "tensor = 2\npipeline = 2\n@alone", 4, {"a1-step-00000020", "has 2 attention heads", "attention_heads is 4"}, "attention_heads = 2",
            "attention_heads = 4");
        row("cut off", 4, "tensor = 2\npipeline = 2\n@cut", 4, {"a1-step-00000020", "rank-00001.bin", "bytes"});
        row("gone", 4, "tensor = 2\npipeline = 2\n@gone", 4, {"a1-step-00000020", "rank-00001.bin"});
    }
    void refusals() {
        QFETCH(int, ranks);
        QFETCH(QString, from);
        QFETCH(QString, to);
        QFETCH(QString, mesh);
        QFETCH(int, exitCode);
        QFETCH(QStringList, says);
        const fs::path broken = m_place.folder("broken") / "a1-step-00000020";
        const fs::path sound = m_place.checkpoint("tensor-2-data-2", kSteps);
        fs::remove_all(m_place.folder("broken"));
        fs::create_directories(broken.parent_path());
        fs::copy(sound, broken);
        std::string lines = mesh.section('@', 0, 0).toStdString();
        const QString which = mesh.section('@', 1);
        if (which == "cut") {
            fs::resize_file(broken / "rank-00001.bin", fs::file_size(broken / "rank-00001.bin") - 100);
        } else if (which == "gone") {
            fs::remove(broken / "rank-00001.bin");
        }
        std::string text = on(lines);
        text += which.isEmpty() ? "" : "\n[resume]\ncheckpoint = \"" + broken.string() + "\"\n";
        if (!from.isEmpty()) {
            replace(text, from.toStdString(), to.toStdString());
        }
        const Ended end = train("bad", ranks, text);
        QVERIFY2(end.exitCode == exitCode, qPrintable(end.output));
        for (const QString& part : says) {
            QVERIFY2(end.output.contains(part), qPrintable("no “" + part + "” in: " + end.output));
        }
        QVERIFY2(end.output.count(" error ") == 1, qPrintable(end.output)); // one rank speaks for all
        QVERIFY2(!end.output.contains("step 1/"), qPrintable(end.output));
        fs::remove_all(m_place.folder("bad"));
    }
};

QTEST_GUILESS_MAIN(MeshRanksTest)
#include "tst_mesh_ranks.moc"
