// SPDX-License-Identifier: Apache-2.0
// telehelm-rank as a program: N data ranks against one, exact resume after a kill, SIGTERM, refusals and exit codes.
#include <QtTest>

#include <cmath>
#include <csignal>

#include <QProcess>
#include <QStandardPaths>

#include "rank_rig.h"
#include "telehelm/kernels/device.h"
#include "train/checkpoint_loader.h"
#include "train/checkpoint_store.h"
#include "train/file_io.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
namespace fs = std::filesystem;

class TrainRanksTest : public QObject {
    Q_OBJECT

    RankPlace m_place;
    std::string m_toml;

    std::string toml(int ranks, const std::string& extra = {}) const {
        std::string text = m_toml;
        text.replace(text.find("[parallel]\ndata = 1"), 19, "[parallel]\ndata = " + std::to_string(ranks));
        return text + extra;
    }

private slots:
    void initTestCase() {
        makeTinyCorpus(m_place.folder("corpus"));
        m_toml = tinyConfig(m_place.folder("corpus"));
    }

    void ranksAgreeWithOneRank() {
        if (!RankPlace::haveMpirun()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        const config::RunConfig config = parsed(m_toml);
        for (const int ranks : {1, 2, 3}) {
            const Ended end = m_place.rank(ranks, m_place.write("r.toml", toml(ranks)), "ranks" + std::to_string(ranks));
            QVERIFY2(end.exitCode == 0, qPrintable(end.output));
        }
        const std::vector<float> one = stateOf(m_place.checkpoint("ranks1", 20), config);
        const auto lossOne = train::readManifest(m_place.checkpoint("ranks1", 20))->trainLoss;
        for (const int ranks : {2, 3}) {
            const std::string run = "ranks" + std::to_string(ranks);
            const double loss = train::readManifest(m_place.checkpoint(run, 20))->trainLoss;
            // Sums of 192 losses in another order, 20 steps long: fp32 rounding. A gradient counted twice or a shard left out is
            // off by > 0.1.
            QVERIFY2(std::abs(loss - lossOne) < 2e-4,
                     qPrintable(QString("%1 ranks: %2, 1 rank: %3").arg(ranks).arg(loss, 0, 'g', 9).arg(lossOne, 0, 'g', 9)));
            const std::vector<float> state = stateOf(m_place.checkpoint(run, 20), config);
            double worst = 0;
            for (std::size_t i = 0; i < state.size() / 3; ++i) {
                worst = std::max(worst, static_cast<double>(std::abs(state[i] - one[i])));
            }
            QVERIFY2(worst < 2e-3, qPrintable(QString("parameters differ by %1").arg(worst))); // a step moves them by up to 1e-2
        }
    }

    void theSameMeshGivesTheSameBitsEvenAfterAKill() {
        if (!RankPlace::haveMpirun()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        const QString config = m_place.write("two.toml", toml(2));
        QVERIFY(m_place.rank(2, config, "straight").exitCode == 0);
        QCOMPARE(m_place.rank(2, config, "cut", {"--steps", "10"}).exitCode, 0);
        {
            QProcess job; // goes on to about step 13 and dies
            m_place.start(job, 2, config, "cut");
            RankPlace::waitForStep(job, 13);
            for (const pid_t pid : m_place.pids("cut")) {
                kill(pid, SIGKILL);
            }
            QVERIFY(job.waitForFinished(60'000));
            fs::remove_all(m_place.checkpoint("cut", 15)); // whatever it still reached
            fs::remove_all(m_place.checkpoint("cut", 20));
        }
        const Ended rest = m_place.rank(2, config, "cut");
        QVERIFY2(rest.exitCode == 0, qPrintable(rest.output));
        QVERIFY2(rest.output.contains("starts from step 10 of a1-step-00000010"), qPrintable(rest.output));
        const auto straight = train::readManifest(m_place.checkpoint("straight", 20));
        const auto cut = train::readManifest(m_place.checkpoint("cut", 20));
        QVERIFY(straight && cut);
        QCOMPARE(cut->trainLoss, straight->trainLoss);
        QCOMPARE(cut->gradNorm, straight->gradNorm);
        QCOMPARE(cut->files.size(), std::size_t{2});
        for (std::size_t i = 0; i < cut->files.size(); ++i) {
            QCOMPARE(cut->files[i].xxh3, straight->files[i].xxh3); // parameters and both moments, bit for bit
        }
    }

    void anotherNumberOfRanksLoadsTheSame() {
        if (!RankPlace::haveMpirun()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        const config::RunConfig config = parsed(m_toml);
        QCOMPARE(m_place.rank(2, m_place.write("two.toml", toml(2)), "wide", {"--steps", "10"}).exitCode, 0);
        const std::string resume = "\n[resume]\ncheckpoint = \"" + m_place.checkpoint("wide", 10).string() + "\"\n";
        const Ended narrow = m_place.rank(1, m_place.write("one.toml", toml(1, resume)), "narrow");
        QVERIFY2(narrow.exitCode == 0, qPrintable(narrow.output));
        QVERIFY(narrow.output.contains("from step 10"));
        QVERIFY(train::readManifest(m_place.checkpoint("narrow", 20))->files.size() == 1);
        QCOMPARE(stateOf(m_place.checkpoint("wide", 10), config).size(), stateOf(m_place.checkpoint("narrow", 20), config).size());
    }

    void sigtermSaves_data() {
        QTest::addColumn<int>("ranks");
        QTest::newRow("1 rank") << 1;
        QTest::newRow("2 ranks, one of them signalled") << 2;
    }
    void sigtermSaves() {
        QFETCH(int, ranks);
        if (ranks > 1 && !RankPlace::haveMpirun()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        std::string text = toml(ranks);
        text.replace(text.find("steps = 20"), 10, "steps = 1000000");
        const std::string run = "term" + std::to_string(ranks);
        QProcess job;
        m_place.start(job, ranks, m_place.write("long.toml", text), run);
        QByteArray output = RankPlace::waitForStep(job, 7);
        const std::vector<pid_t> found = m_place.pids(run);
        QCOMPARE(static_cast<int>(found.size()), ranks);
        kill(found.back(), SIGTERM);
        QVERIFY(job.waitForFinished(60'000));
        output += job.readAll();
        QVERIFY2(job.exitCode() == 0, output.constData());
        const auto left = train::listCheckpoints(m_place.folder(run) / "checkpoints");
        QVERIFY(!left.empty());
        QVERIFY2(output.contains("Stopped by a signal after step " +
                                 QByteArray::number(static_cast<qlonglong>(left.front().step)) + "."),
                 output.constData());
        QVERIFY(train::verifyCheckpoint(left.front().path));
    }

    void refusals_data() {
        QTest::addColumn<QString>("from");
        QTest::addColumn<QString>("to");
        QTest::addColumn<int>("exitCode");
        QTest::addColumn<QString>("says");
        QTest::newRow("key") << "warmup_steps"
                             << "warm_up_steps" << 2 << "[schedule] warm_up_steps: unknown key; did you mean warmup_steps?";
        QTest::newRow("ranks") << "data = 1"
                               << "data = 2" << 2 << "makes 2 ranks, but 1 was started; start it with  mpirun -np 2 telehelm-rank";
        if (const kernels::CudaReport cuda = kernels::cudaReport(); cuda.devices.empty()) {
            QTest::newRow("no device") << "steps = 20"
                                       << "steps = 20\ndevice = \"cuda\"" << 2
                                       << "bad.toml: device = \"cuda\" cannot run here: " + QString::fromStdString(cuda.whyNone) +
                                              "; write device = \"cpu\" to train on the CPU";
        } else { // heads of 16
            QTest::newRow("cuda shape") << "steps = 20"
                                        << "steps = 20\ndevice = \"cuda\"" << 2
                                        << "hidden_size / attention_heads must be 64 or 128, not 16; or write device = \"cpu\"";
        }
        QTest::newRow("tensor") << "data = 1"
                                << "tensor = 2" << 2 << "mpirun -np 2";
        QTest::newRow("corpus") << "/corpus\""
                                << "/nowhere\"" << 3 << "check [data] corpus in ";
        QTest::newRow("domain") << "Book = 10.0"
                                << "Cook = 10.0" << 2 << "the corpus has no domain \"Cook\"; it has WebText, Code, Book";
        QTest::newRow("checkpoint") << "[parallel]"
                                    << "[resume]\ncheckpoint = \"/nowhere/a1-step-00000005\"\n[parallel]" << 4
                                    << "there is no checkpoint folder /nowhere/a1-step-00000005";
    }
    void refusals() {
        QFETCH(QString, from);
        QFETCH(QString, to);
        QFETCH(int, exitCode);
        QFETCH(QString, says);
        const Ended end = m_place.rank(1, m_place.write("bad.toml", QString::fromStdString(m_toml).replace(from, to).toStdString()), "refused");
        QCOMPARE(end.exitCode, exitCode);
        QVERIFY2(end.output.contains(says), qPrintable(end.output));
        QCOMPARE(end.output.count(" error "), 1);
    }

    void wrongUse() {
        QCOMPARE(m_place.rank(1, "/nowhere.toml", "refused").exitCode, 2);
        QCOMPARE(m_place.rank(1, m_place.write("ok.toml", m_toml), "refused", {"--stepps", "3"}).exitCode, 2);
        const Ended help = m_place.rank(1, m_place.write("ok.toml", m_toml), "refused", {"--help"});
        QCOMPARE(help.exitCode, 0);
        QVERIFY(help.output.contains("Exit codes"));
    }
};

QTEST_GUILESS_MAIN(TrainRanksTest)
#include "tst_train_ranks.moc"
