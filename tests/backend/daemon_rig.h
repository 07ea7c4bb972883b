// SPDX-License-Identifier: Apache-2.0
// What the tests of the daemon share: it runs in this process, its jobs are shell scripts, its trainer is a link that the test itself speaks.
#pragma once

#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>

#undef emit // Qt's macro; the trainer link has a method of this name

#include <set>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "daemon/daemon.h"
#include "must.h"

namespace telehelm::test {

using namespace telehelm::ipc;

constexpr int kPatience = 30'000;

using tests::must;

inline QByteArray configText(const QString& corpus) {
    return R"(name = "r"
description = "a test"
steps = 1000
[model]
layers = 1
hidden_size = 16
attention_heads = 1
ffn_hidden_size = 32
vocab_size = 272
context_length = 16
[optimizer]
learning_rate = 1.0e-3
[batch]
sequences = 2
[data]
corpus = ")" + corpus.toUtf8() + R"("
[data.mixture]
Code = 25.0
WebText = 75.0
)";
}

inline void writeFile(const QString& name, const QByteArray& text) {
    QDir().mkpath(QFileInfo(name).path());
    QFile file(name);
    if (!file.open(QIODevice::WriteOnly) || file.write(text) != text.size())
        qFatal("cannot write %s", qPrintable(name));
}

// A state folder with a corpus and a job that ends with the code found in the file "exit".
struct Place {
    QTemporaryDir dir;
    std::unique_ptr<daemon::Daemon> daemon;

    Place() {
        writeFile(dir.filePath("job.sh"), "#!/bin/sh\necho started\nwhile [ ! -e exit ]; do [ -e config.toml ] || exit 0; sleep 0.03; done\necho last words\nexit $(cat exit)\n");
        QFile::setPermissions(dir.filePath("job.sh"), QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
        writeFile(dir.filePath("corpus/manifest.json"),
                  R"({"format": "telehelm-corpus", "domains": [{"name": "Code", "languages": "code", "train": {"tokens": 1000}},
                      {"name": "WebText", "languages": "en, zh", "train": {"tokens": 2000}}]})");
        open();
    }
    ~Place() {
        endJobs();
        daemon.reset();
    }
    void open() {
        daemon::DaemonOptions options;
        options.stateDir = dir.filePath("state").toStdString();
        options.rankProgram = dir.filePath("job.sh").toStdString();
        QDir().mkpath(dir.filePath("state"));
        daemon = must(daemon::Daemon::open(options));
    }
    void close() { daemon.reset(); }
    QString attemptDir(unsigned attempt = 1, const QString& run = "r") const {
        return dir.filePath("state/runs/" + run + "/attempt-" + QString::number(attempt));
    }
    void endJob(unsigned attempt = 1, int code = 0, const QString& run = "r") {
        writeFile(attemptDir(attempt, run) + "/exit.tmp", QByteArray::number(code));
        QFile::rename(attemptDir(attempt, run) + "/exit.tmp", attemptDir(attempt, run) + "/exit");
    }
    void endJobs() {
        for (const QString& run : QDir(dir.filePath("state/runs")).entryList(QDir::Dirs | QDir::NoDotAndDotDot))
            for (unsigned attempt = 1; QDir(attemptDir(attempt, run)).exists(); ++attempt)
                endJob(attempt, 0, run);
    }
    StartRequest request() const {
        StartRequest start;
        start.configToml = configText(dir.filePath("corpus")).toStdString();
        start.configPath = "test.toml";
        start.author = "tester";
        start.commandId = newUuid();
        return start;
    }
    AttemptInfo newest() { return *must(daemon->getRun("r")).newest(); }
    bool becomes(AttemptState state) {
        return QTest::qWaitFor([&] { return newest().state == state; }, kPatience);
    }
    Command order(CommandKind kind, const std::string& reason = "because the test says so") {
        Command command;
        command.id = newUuid();
        command.key.run = "r";
        command.kind = kind;
        command.author = "tester";
        command.reason = reason;
        return command;
    }
    Command command(const std::string& id) { return must(daemon->getCommand(id)); }
    bool becomes(const std::string& id, CommandState state) {
        return QTest::qWaitFor([&] { return command(id).state == state; }, kPatience);
    }
    std::vector<Event> events(EventKind kind) {
        std::vector<Event> found;
        for (Event& event : must(daemon->listEvents({"r", 0, 0})))
            if (event.kind == kind)
                found.push_back(std::move(event));
        return found;
    }
    std::uint64_t stored(std::uint32_t attempt, std::int64_t steps) { // counts points, and checks that each step is there once
        SeriesQuery query;
        query.key = {"r", attempt};
        query.names = {"train/loss"};
        query.maxBuckets = 0;
        std::multiset<std::int64_t> seen;
        must(daemon->querySeries(query, [&](SeriesSegment&& segment) {
            for (const Bucket& bucket : segment.buckets)
                seen.insert(bucket.firstStep);
            return true;
        }));
        for (std::int64_t step = 1; step <= steps; ++step)
            if (seen.count(step) != 1)
                qWarning("step %lld is there %zu times", static_cast<long long>(step), seen.count(step));
        return seen.size();
    }
};

// Speaks the trainer link as telehelm-rank does.
class FakeTrainer {
public:
    FakeTrainer(const Place& place, std::uint32_t attempt = 1, bool isOffline = false) {
        TrainerLinkOptions options;
        options.endpointFile = place.dir.filePath("state/link-endpoint").toStdString();
        options.key = {"r", attempt};
        options.spoolFile = (place.attemptDir(attempt) + "/spool").toStdString();
        options.pid = 1;
        options.flushMs = 5;
        m_link = must(isOffline ? makeOfflineTrainerLink(options) : makeTrainerLink(options));
    }
    void steps(int count) {
        for (int i = 0; i < count; ++i) {
            ++step;
            m_link->emit("train/loss", {step, step * 32, nowUs(), 1.0 / static_cast<double>(step)});
            if (step % 10 == 0) {
                m_link->emit("mixture/Code/actual", {step, step * 32, nowUs(), 0.25});
                m_link->emit("mixture/WebText/actual", {step, step * 32, nowUs(), 0.75});
            }
            m_link->setProgress(step, step * 32, "step");
        }
    }
    std::optional<Command> take() {
        std::optional<Command> taken;
        (void)QTest::qWaitFor([&] {
            for (Command& command : m_link->takeCommands())
                m_waiting.push_back(std::move(command));
            return !m_waiting.empty();
        }, kPatience);
        if (!m_waiting.empty()) {
            taken = m_waiting.front();
            m_waiting.erase(m_waiting.begin());
        }
        return taken;
    }
    void answer(const Command& command, CommandState state = CommandState::Applied, const std::string& text = "done") {
        m_link->emit(CommandOutcome{command.id, state, step + 1, text});
    }
    void end(const std::string& reason, const std::string& text) {
        Event event;
        event.kind = EventKind::AttemptEnded;
        event.key = {"r", 1};
        event.step = step;
        event.wallUs = nowUs();
        event.text = text;
        event.facts = {{"reason", reason}};
        m_link->emit(event);
    }
    TrainerLink& link() { return *m_link; }
    std::int64_t step = 0;

private:
    std::unique_ptr<TrainerLink> m_link;
    std::vector<Command> m_waiting;
};

inline QByteArray xxh3(const QByteArray& bytes) {
    return QByteArray::number(static_cast<qulonglong>(XXH3_64bits(bytes.constData(), static_cast<std::size_t>(bytes.size()))), 16).rightJustified(16, '0');
}

inline void writeCheckpoint(const Place& place, unsigned attempt, int step, bool isDamaged = false) {
    const QString folder = place.dir.filePath(QString("state/runs/r/checkpoints/a%1-step-%2").arg(attempt).arg(step, 8, 10, QChar('0')));
    const QByteArray weights(5000, static_cast<char>(step));
    writeFile(folder + "/rank-0.bin", isDamaged ? QByteArray(5000, '?') : weights);
    writeFile(folder + "/manifest.json",
              QString(R"({"format": 1, "run": "r", "attempt": %1, "step": %2, "tokens": %3, "saved_us": 5, "bytes": 5000, "train_loss": 2.5,
                  "grad_norm": 0.5, "files": [{"name": "rank-0.bin", "bytes": 5000, "xxh3": "%4"}]})")
                  .arg(attempt).arg(step).arg(step * 32).arg(QString::fromLatin1(xxh3(weights))).toUtf8());
}

} // namespace telehelm::test
