// SPDX-License-Identifier: Apache-2.0
// Checkpoints: exact resume, what is kept, what is damaged, what a restart changes.
#include <QtTest>

#include <fstream>

#include "train/checkpoint_loader.h"
#include "train/file_io.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
namespace fs = std::filesystem;

class CheckpointTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    std::string m_toml;
    config::RunConfig m_config;
    RecordingLink m_plain;
    Training m_plainRun;

    fs::path folder(const char* name) const { return m_dir.path().toStdString() + "/" + name; }

    static void until(train::TrainerOptions& options, std::int64_t step) { options.lastStep = step; }
    /// Trains `steps` steps of a new run in that folder.
    void train(const fs::path& dir, std::int64_t steps) const {
        RecordingLink link;
        runTraining(m_config, dir, link, 1, [&](train::TrainerOptions& options) { until(options, steps); });
    }
    static void flipByte(const fs::path& path) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(100);
        const char byte = static_cast<char>(file.get() ^ 1);
        file.seekp(100);
        file.put(byte);
    }
    /// By all threads of this process.
    static std::int64_t bytesRead() {
        std::ifstream io("/proc/self/io");
        std::string word;
        std::int64_t bytes = -1;
        io >> word >> bytes; // rchar: …
        return bytes;
    }
    static std::vector<double> tail(const std::vector<double>& values, std::size_t count) {
        return {values.end() - static_cast<std::ptrdiff_t>(count), values.end()};
    }

private slots:
    void initTestCase() {
        makeTinyCorpus(folder("corpus"));
        m_toml = tinyConfig(folder("corpus"));
        m_config = parsed(m_toml);
        m_plainRun = runTraining(m_config, folder("plain"), m_plain);
    }

    void resumeIsExact() {
        train(folder("resume"), 10);
        RecordingLink link;
        const Training rest = runTraining(m_config, folder("resume"), link);
        QCOMPARE(link.points.at("train/loss").front().step, 11);
        QCOMPARE(link.values("train/loss"), tail(m_plain.values("train/loss"), 10));
        QCOMPARE(link.values("train/grad_norm"), tail(m_plain.values("train/grad_norm"), 10));
        QVERIFY(rest.parameters == m_plainRun.parameters);
        QCOMPARE(link.eventsOf(ipc::EventKind::AttemptStarted)[0].facts.at("fork_step"), std::string("10"));
    }

    void keepsTheLastAndEveryNth() {
        config::RunConfig config = m_config;
        config.checkpoint = {.everySteps = 2, .keepLast = 2, .keepEvery = 8};
        RecordingLink link;
        runTraining(config, folder("keep"), link);
        std::vector<std::int64_t> steps;
        for (const train::CheckpointName& name : train::listCheckpoints(folder("keep"))) {
            steps.push_back(name.step);
        }
        QCOMPARE(steps, (std::vector<std::int64_t>{20, 18, 16, 8}));
        std::int64_t step = 0;
        for (const ipc::Event& saved : link.eventsOf(ipc::EventKind::CheckpointSaved)) {
            step += 2;
            QCOMPARE(saved.step, step); // the checkpoint's own, though it is told of later
            QCOMPARE(saved.tokens, link.points.at("train/loss")[static_cast<std::size_t>(step) - 1].tokens);
        }
        QCOMPARE(step, 20);
        for (const auto& entry : fs::directory_iterator(folder("keep"))) {
            QVERIFY2(!entry.path().filename().string().starts_with(".tmp"), entry.path().c_str());
        }
    }

    void aDamagedOneIsNamedAndSkipped_data() {
        QTest::addColumn<int>("damage");
        QTest::addColumn<QString>("says");
        QTest::newRow("a bit") << 0 << "rank-00000.bin, 34816 bytes at offset 0";
        QTest::newRow("cut off") << 1 << "rank-00000.bin has 100 bytes";
        QTest::newRow("file missing") << 2 << "rank-00000.bin is missing";
        QTest::newRow("manifest missing") << 3 << "has no manifest.json";
        QTest::newRow("manifest cut off") << 4 << "cannot be read";
    }
    void aDamagedOneIsNamedAndSkipped() {
        QFETCH(int, damage);
        QFETCH(QString, says);
        const fs::path dir = folder("damaged");
        fs::remove_all(dir);
        train(dir, 10); // checkpoints at 5 and 10
        const fs::path newest = dir / "a1-step-00000010";
        QVERIFY(fs::exists(newest));
        switch (damage) {
        case 0:
            flipByte(newest / "rank-00000.bin");
            break;
        case 1:
            fs::resize_file(newest / "rank-00000.bin", 100);
            break;
        case 2:
            fs::remove(newest / "rank-00000.bin");
            break;
        case 3:
            fs::remove(newest / "manifest.json");
            break;
        default:
            fs::resize_file(newest / "manifest.json", 300);
            break;
        }
        fs::create_directories(dir / ".tmp-a1-step-00000012");
        RecordingLink link;
        const Training run = runTraining(m_config, dir, link);
        const auto damaged = link.eventsOf(ipc::EventKind::CheckpointDamaged);
        QCOMPARE(damaged.size(), std::size_t{2});
        QVERIFY(damaged[0].text.find("a1-step-00000012 was not finished") != std::string::npos);
        QVERIFY2(damaged[1].text.find("a1-step-00000010 is damaged") != std::string::npos &&
                     damaged[1].text.find(says.toStdString()) != std::string::npos,
                 damaged[1].text.c_str());
        QCOMPARE(link.points.at("train/loss").front().step, 6); // the one before it
        QVERIFY(run.parameters == m_plainRun.parameters);
        QVERIFY(train::verifyCheckpoint(newest)); // trained again and replaced
    }

    void withoutASoundOneNothingStarts() {
        const fs::path dir = folder("hopeless");
        train(dir, 5);
        fs::remove(dir / "a1-step-00000005" / "manifest.json");
        const auto chosen = train::chooseCheckpoint(dir, "", 1, train::looksWhole);
        QVERIFY(!chosen);
        QVERIFY2(chosen.error().text().find("no sound checkpoint is left (a1-step-00000005: has no manifest.json)") !=
                     std::string::npos,
                 chosen.error().text().c_str());
        const auto missing = train::chooseCheckpoint(dir, (dir / "a1-step-00000099").string(), 2, train::looksWhole);
        QVERIFY(!missing);
        QCOMPARE(missing.error().code, ErrorCode::NotFound);
    }

    void damageThatOneRankFindsSendsAllBack() {
        config::RunConfig config = m_config;
        config.parallel.data = 2;
        const fs::path dir = folder("two");
        const auto trainTo = [&](std::int64_t step) {
            RecordingLink link;
            runTraining(config, dir, link, 1, [&](train::TrainerOptions& options) { until(options, step); });
            return link;
        };
        trainTo(10);
        flipByte(dir / "a1-step-00000010" / "rank-00001.bin");
        const RecordingLink link = trainTo(12);
        const auto damaged = link.eventsOf(ipc::EventKind::CheckpointDamaged);
        QCOMPARE(damaged.size(), std::size_t{1});
        QVERIFY2(damaged[0].text.find("a1-step-00000010 is damaged") != std::string::npos &&
                     damaged[0].text.find("rank-00001.bin, ") != std::string::npos,
                 damaged[0].text.c_str());
        QCOMPARE(link.points.at("train/loss").front().step, 6);
    }

    void aNamedOneIsNeverReplaced() {
        const fs::path dir = folder("named");
        train(dir, 10);
        flipByte(dir / "a1-step-00000010" / "rank-00000.bin");
        config::RunConfig config = m_config;
        config.resume.checkpoint = (dir / "a1-step-00000010").string();
        RecordingLink link;
        std::string text;
        try {
            runTraining(config, dir, link, 2);
        } catch (const std::runtime_error& error) {
            text = error.what();
        }
        QVERIFY2(text.find("a1-step-00000010: is damaged (") != std::string::npos && text.find("name another checkpoint") != std::string::npos,
                 text.c_str());
        QVERIFY(link.points.empty());
    }

    /// Two data ranks share it: each byte is read once, whoever checks it.
    void aStartReadsACheckpointOnce() {
        config::RunConfig config = m_config;
        config.model.ffnHiddenSize = 4096;
        config.parallel.data = 2;
        const fs::path dir = folder("large");
        const auto trainTo = [&](std::int64_t step) {
            RecordingLink link;
            runTraining(config, dir, link, 1, [&](train::TrainerOptions& options) {
                until(options, step);
                options.waitForSaves = true;
            });
        };
        trainTo(5);
        const auto manifest = train::readManifest(dir / "a1-step-00000005");
        QVERIFY(manifest && manifest->bytes > 4'000'000);
        const std::int64_t before = bytesRead();
        trainTo(5);
        const std::int64_t read = bytesRead() - before;
        QVERIFY2(read > manifest->bytes && read < manifest->bytes * 3 / 2,
                 (std::to_string(read) + " bytes of " + std::to_string(manifest->bytes)).c_str());
    }

    void anotherModelIsRefused() {
        const fs::path dir = folder("other");
        train(dir, 5);
        config::RunConfig wider = m_config;
        wider.model.ffnHiddenSize = 64;
        RecordingLink link;
        std::string text;
        try {
            runTraining(wider, dir, link);
        } catch (const std::runtime_error& error) {
            text = error.what();
        }
        QVERIFY2(text.find("layers.0.ffn.gate_up is 96 × 32 in the checkpoint but 128 × 32 by the config") != std::string::npos,
                 text.c_str());
    }

    void aRestartChangesWhatItNames() {
        const fs::path dir = folder("fork");
        train(dir, 10);
        config::ConfigOverrides overrides;
        overrides.resumeCheckpoint = (dir / "a1-step-00000005").string();
        overrides.mixturePercent = std::map<std::string, double>{{"Code", 100.0}};
        overrides.dataSeed = 99;
        overrides.skipBatches = 3;
        overrides.lrScale = 0.5;
        const auto text = config::applyOverrides(m_toml, overrides);
        QVERIFY(text);
        RecordingLink link;
        runTraining(parsed(*text), dir, link, 2);
        QCOMPARE(link.points.at("train/loss").front().step, 6);
        const auto changed = link.eventsOf(ipc::EventKind::MixtureChanged);
        QCOMPARE(changed.size(), std::size_t{1});
        QCOMPARE(changed[0].facts.at("at_step"), std::string("6"));
        QCOMPARE(changed[0].facts.at("seed"), std::string("99"));
        QCOMPARE(changed[0].facts.at("skip_batches"), std::string("3"));
        QCOMPARE(link.values("mixture/Code/actual").back(), 1.0);
        QCOMPARE(link.values("optim/lr").front(), 0.5 * m_plain.values("optim/lr")[5]);
        QVERIFY(fs::exists(dir / "a1-step-00000010")); // another attempt's are not its to remove
        const auto manifest = train::readManifest(dir / "a2-step-00000020");
        QVERIFY(manifest);
        QCOMPARE(manifest->mixtureHistory.size(), std::size_t{2});
        QCOMPARE(manifest->mixtureHistory[1].skipBatches, 3);
    }

    void aRestartKeepsWhatItDoesNotName() {
        const fs::path dir = folder("keepFork");
        RecordingLink first;
        ipc::Command mixture = command("m", ipc::CommandKind::SetMixture);
        mixture.mixture = {{"Book", 1.0}};
        first.plan(3, mixture);
        ipc::Command scale = command("l", ipc::CommandKind::SetLrScale);
        scale.lrScale = 0.25;
        first.plan(3, scale);
        const Training straight = runTraining(m_config, dir, first);
        config::ConfigOverrides nothing;
        nothing.resumeCheckpoint = (dir / "a1-step-00000010").string();
        const auto text = config::applyOverrides(m_toml, nothing);
        QVERIFY(text);
        RecordingLink second;
        const Training forked = runTraining(parsed(*text), dir, second, 2);
        QVERIFY(forked.parameters == straight.parameters);
        QCOMPARE(second.values("train/loss"), tail(first.values("train/loss"), 10));

        config::ConfigOverrides back; // the config's own mixture again, against what the command made of it
        back.resumeCheckpoint = nothing.resumeCheckpoint;
        back.mixturePercent = m_config.data.mixture;
        const auto backText = config::applyOverrides(*text, back);
        QVERIFY(backText);
        RecordingLink third;
        runTraining(parsed(*backText), dir, third, 3);
        QCOMPARE(third.values("mixture/WebText/target").back(), 0.6);
        QCOMPARE(third.values("optim/lr").back(), second.values("optim/lr").back());
    }
};

QTEST_GUILESS_MAIN(CheckpointTest)
#include "tst_checkpoint.moc"
