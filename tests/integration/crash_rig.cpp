// SPDX-License-Identifier: Apache-2.0
#include "crash_rig.h"

#include <QDir>
#include <QFile>
#include <QJsonDocument>
#include <QJsonObject>
#include <QRegularExpression>
#include <QTest>

#include <bit>
#include <cmath>
#include <csignal>

namespace telehelm::tests {

using namespace telehelm::ipc;

namespace {

constexpr const char* kConfig = R"(name = "fed"
steps = 1000000
[model]
layers = 1
hidden_size = 8
attention_heads = 1
ffn_hidden_size = 8
vocab_size = 272
context_length = 8
[batch]
sequences = 1
[data]
corpus = "@CORPUS@"
[data.mixture]
WebText = 100.0
)";
constexpr const char* kCorpus =
    R"({"format":1,"domains":[{"name":"WebText","languages":"en","train":{"tokens":1000},"valid":{"tokens":10}}]})";

void write(const QString& name, const QByteArray& text) {
    QFile file(name);
    if (!file.open(QIODevice::WriteOnly) || file.write(text) != text.size())
        qFatal("%s cannot be written", qPrintable(name));
}

bool isSame(const Bucket& got, const Point& want) {
    return got.count == 1 && got.firstStep == want.step && got.firstTokens == want.tokens && got.firstWallUs == want.wallUs &&
           std::bit_cast<std::uint64_t>(got.first) == std::bit_cast<std::uint64_t>(want.value);
}

} // namespace

CrashRig::CrashRig() {
    QDir().mkpath(path("bin"));
    QDir().mkpath(state());
    const QString programs = qEnvironmentVariable("TELEHELM_BIN", QCoreApplication::applicationDirPath());
    // The daemon looks for telehelm-rank beside itself and must find this program there.
    if (!QFile::copy(programs + "/telehelmd", path("bin/telehelmd")) ||
        !QFile::copy(QCoreApplication::applicationFilePath(), path("bin/telehelm-rank")))
        qFatal("the programs cannot be copied to %s", qPrintable(path("bin")));
    QDir().mkpath(path("corpus"));
    write(path("corpus/manifest.json"), kCorpus);
    m_logFile = path("daemon.log");
    m_feed = mapReport(path("feed").toStdString());
    if (m_feed == nullptr)
        qFatal("the feeder's report cannot be mapped");
    qputenv(kFeedFileVariable, path("feed").toUtf8());
}

CrashRig::~CrashRig() {
    kill();
    if (const auto pid = static_cast<pid_t>(m_feed->pid.load()); pid > 0)
        ::kill(pid, SIGKILL);
}

void CrashRig::launch() {
    QFile::remove(state() + "/daemon.json");
    m_client.reset();
    m_daemon.setStandardErrorFile(m_logFile, QIODevice::Append);
    m_daemon.start(path("bin/telehelmd"), {"--state-dir", state(), "--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*"});
    m_daemon.waitForStarted();
}

bool CrashRig::serves() {
    QFile card(state() + "/daemon.json");
    (void)QTest::qWaitFor([&] { return card.exists() || m_daemon.state() == QProcess::NotRunning; }, kCrashPatience);
    if (!card.open(QIODevice::ReadOnly))
        return false;
    const QJsonObject json = QJsonDocument::fromJson(card.readAll()).object();
    m_client = makeControlClient(json["control"].toString().toStdString(), 60'000);
    return m_client->hello(kProtocolVersion, "tests").has_value();
}

bool CrashRig::showReadOnly() {
    forgetLog();
    m_daemon.setStandardErrorFile(m_logFile, QIODevice::Append);
    m_daemon.start(path("bin/telehelmd"), {"--read-only", "--state-dir", state(), "--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*"});
    static const QRegularExpression address("telehelmctl --server ([0-9.:]+) ");
    QRegularExpressionMatch found;
    (void)QTest::qWaitFor([&] {
        found = address.match(log().join('\n'));
        return found.hasMatch() || m_daemon.state() == QProcess::NotRunning;
    }, kCrashPatience);
    if (!found.hasMatch())
        return false;
    m_client = makeControlClient(found.captured(1).toStdString(), 60'000);
    return m_client->hello(kProtocolVersion, "tests").has_value();
}

void CrashRig::kill() {
    if (m_daemon.state() == QProcess::NotRunning)
        return;
    ::kill(static_cast<pid_t>(m_daemon.processId()), SIGKILL);
    m_daemon.waitForFinished();
}

bool CrashRig::terminate() {
    m_daemon.terminate();
    return m_daemon.waitForFinished(kCrashPatience) && m_daemon.exitStatus() == QProcess::NormalExit && m_daemon.exitCode() == 0;
}

int CrashRig::exitCode() {
    const bool ended = m_daemon.state() == QProcess::NotRunning || m_daemon.waitForFinished(kCrashPatience);
    return ended && m_daemon.exitStatus() == QProcess::NormalExit ? m_daemon.exitCode() : -1;
}

int CrashRig::check(QString* said) const {
    QProcess process;
    process.setProcessChannelMode(QProcess::MergedChannels);
    process.start(path("bin/telehelmd"), {"check", "--state-dir", state()});
    const bool ended = process.waitForFinished(kCrashPatience);
    if (said != nullptr)
        *said = QString::fromUtf8(process.readAll());
    return ended && process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -1;
}

QStringList CrashRig::log() const {
    QFile file(m_logFile);
    return file.open(QIODevice::ReadOnly) ? QString::fromUtf8(file.readAll()).split('\n', Qt::SkipEmptyParts) : QStringList();
}

void CrashRig::forgetLog() { QFile::resize(m_logFile, 0); }

void CrashRig::startRun() {
    StartRequest request;
    request.configToml = QString(kConfig).replace("@CORPUS@", path("corpus")).toStdString();
    request.configPath = "fed.toml";
    request.author = "test";
    request.commandId = newUuid();
    if (auto run = m_client->startRun(request); !run)
        qFatal("%s", run.error().text().c_str());
}

bool CrashRig::acksMore(std::uint64_t points) {
    const std::uint64_t before = m_feed->acked;
    return QTest::qWaitFor([&] { return m_feed->acked >= before + points; }, kCrashPatience);
}

bool CrashRig::finish() {
    m_feed->stop = 1;
    return QTest::qWaitFor([&] {
        const auto run = m_client->getRun(kFedAttempt.run);
        return run && run->newest() && run->newest()->state == AttemptState::Finished;
    }, kCrashPatience);
}

Result<std::vector<SeriesSegment>> CrashRig::query(int series, std::uint32_t maxBuckets) {
    SeriesQuery query;
    query.key = kFedAttempt;
    query.names = {feedName(series)};
    query.maxBuckets = maxBuckets;
    std::vector<SeriesSegment> segments;
    return m_client
        ->querySeries(query, [&](SeriesSegment&& segment) {
            segments.push_back(std::move(segment));
            return true;
        })
        .map([&] { return std::move(segments); });
}

QString CrashRig::compareSeries(int series, std::uint64_t points, std::uint64_t* count) {
    const QString name = QString::fromStdString(feedName(series));
    const auto raw = query(series, 0);
    if (!raw)
        return name + ": " + QString::fromStdString(raw.error().text());
    std::uint64_t index = 0, nonFinite = 0;
    for (const SeriesSegment& segment : *raw)
        for (const Bucket& bucket : segment.buckets) {
            const Point want = feedPoint(series, static_cast<std::int64_t>(index));
            if (!isSame(bucket, want))
                return QString("%1: point %2 is step %3, tokens %4, value %5; emitted were step %6, tokens %7, value %8")
                    .arg(name).arg(index).arg(bucket.firstStep).arg(bucket.firstTokens).arg(bucket.first).arg(want.step).arg(want.tokens).arg(want.value);
            nonFinite += std::isfinite(want.value) ? 0 : 1;
            ++index;
        }
    if (count != nullptr)
        *count = index;
    if (index < points)
        return QString("%1: %2 points are stored, %3 are expected").arg(name).arg(index).arg(points);
    const auto summary = query(series, 300);
    if (!summary)
        return name + ": " + QString::fromStdString(summary.error().text());
    std::uint64_t counted = 0, countedNonFinite = 0;
    for (const SeriesSegment& segment : *summary)
        for (const Bucket& bucket : segment.buckets) {
            counted += bucket.count;
            countedNonFinite += bucket.nonFinite;
        }
    return counted == index && countedNonFinite == nonFinite
               ? QString()
               : QString("%1: the summary counts %2 points, %3 not finite, instead of %4 and %5").arg(name).arg(counted).arg(countedNonFinite).arg(index).arg(nonFinite);
}

QString CrashRig::compareWithEmitted() {
    const std::uint64_t emitted = m_feed->emitted;
    const auto run = m_client->getRun(kFedAttempt.run);
    if (!run)
        return QString::fromStdString(run.error().text());
    if (emitted == 0 || run->newest()->pointsStored != emitted || run->newest()->pointsEmitted != emitted)
        return QString("%1 points emitted; the daemon counts %2 emitted, %3 stored").arg(emitted).arg(run->newest()->pointsEmitted).arg(run->newest()->pointsStored);
    for (int series = 0; series < kFeedSeries; ++series) {
        std::uint64_t count = 0;
        const QString wrong = compareSeries(series, emitted / kFeedSeries, &count);
        if (!wrong.isEmpty())
            return wrong;
        if (count != emitted / kFeedSeries)
            return QString("series %1 has %2 points instead of %3").arg(series).arg(count).arg(emitted / kFeedSeries);
    }
    return {};
}

} // namespace telehelm::tests
