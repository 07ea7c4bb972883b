// SPDX-License-Identifier: Apache-2.0
// telehelmctl export of a real store behind a real gRPC server: every point, bit by bit, in pieces; and TensorBoard's own loader.
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include <QDir>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QProcess>
#include <QTemporaryDir>
#include <QTest>

#include "ctl/cli.h"
#include "ctl/tf_events.h"
#include "must.h"
#include "python.h"
#include "store/store.h"
#include "telehelm/ipc/control_server.h"

using namespace telehelm;
using namespace telehelm::ipc;
using telehelm::tests::must;

namespace {

constexpr std::int64_t kLong = 200'000; // points of the long series, several pieces

/// The parts of a daemon that an export asks.
class StoreDaemon : public ControlApi {
public:
    explicit StoreDaemon(store::Store& store) : m_store(store) {}
    Result<HelloInfo> hello(std::uint32_t protocol, const std::string&) override {
        HelloInfo info;
        info.protocol = protocol;
        return info;
    }
    Result<RunInfo> getRun(const std::string& run) override {
        RunInfo info;
        info.run = run;
        info.attempts = must(m_store.attempts(run));
        return info;
    }
    Result<SeriesPage> listSeries(const SeriesListQuery& query) override { return m_store.listSeries(query); }
    Result<void> querySeries(const SeriesQuery& query, const std::function<bool(SeriesSegment&&)>& sink) override {
        std::size_t points = 0;
        return m_store.querySeries(query, [&](SeriesSegment&& segment) {
            points += segment.buckets.size();
            mostPoints = std::max<std::size_t>(mostPoints, points);
            return sink(std::move(segment));
        });
    }
    Result<LineageInfo> lineage(const std::string&) override { return none(); }
    Result<std::vector<Event>> listEvents(const EventQuery& query) override { return m_store.events(query); }
    Result<std::vector<Command>> listCommands(const CommandQuery& query) override { return m_store.commands(query); }
    Result<std::vector<RunInfo>> listRuns() override { return std::vector<RunInfo>(); }
    Result<RunInfo> startRun(const StartRequest&) override { return none(); }
    Result<Command> submit(const Command&) override { return none(); }
    Result<Command> getCommand(const std::string&) override { return none(); }
    Result<Event> addNote(const Event&) override { return none(); }
    Result<std::vector<CheckpointInfo>> listCheckpoints(const std::string&) override { return none(); }
    Result<void> watch(const std::string&, const std::function<bool(WatchUpdate&&)>&) override { return none(); }
    Result<void> shutdown(bool) override { return none(); }
    std::atomic<std::size_t> mostPoints{0}; // in one answer

private:
    static tl::unexpected<Error> none() { return fail(ErrorCode::Internal, "not in this test"); }
    store::Store& m_store;
};

struct Sample {
    std::int64_t step = 0, tokens = 0, wallUs = 0;
    std::uint64_t bits = 0; // of the value
    auto operator<=>(const Sample&) const = default;
};
using Curves = std::map<std::pair<std::uint32_t, std::string>, std::vector<Sample>>; // by attempt and series, sorted

Sample sampleOf(const Point& p) {
    // A NaN is a NaN in text, whatever its payload.
    const double value = std::isnan(p.value) ? std::numeric_limits<double>::quiet_NaN() : p.value;
    return {p.step, p.tokens, p.wallUs, std::bit_cast<std::uint64_t>(value)};
}

} // namespace

class TestExport : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    std::unique_ptr<store::Store> m_store;
    std::unique_ptr<StoreDaemon> m_daemon;
    std::unique_ptr<ControlServer> m_server;
    Curves m_all, m_effective;
    std::map<std::uint32_t, std::uint64_t> m_sequence;

    void add(std::uint32_t attempt, const std::string& series, const std::vector<Point>& points, std::int64_t lastEffective) {
        TelemetryBatch batch;
        batch.key = {"demo", attempt};
        batch.sequence = ++m_sequence[attempt];
        batch.series = {{series, points}};
        const auto done = must(m_store->ingest(std::span(&batch, 1)));
        QVERIFY(done[0].stored);
        bool isCut = false; // from the first step behind the fork on, all of it is superseded
        for (const Point& point : points) {
            m_all[{attempt, series}].push_back(sampleOf(point));
            isCut = isCut || point.step > lastEffective;
            if (!isCut)
                m_effective[{attempt, series}].push_back(sampleOf(point));
        }
    }
    static std::vector<Point> curve(std::int64_t from, std::int64_t to, bool isOdd) {
        constexpr double kInf = std::numeric_limits<double>::infinity();
        std::vector<Point> points;
        for (std::int64_t step = from; step <= to; ++step) {
            double value = 1.0 / static_cast<double>(step);
            if (isOdd && step % 1000 < 3)
                value = step % 1000 == 0 ? std::nan("") : step % 1000 == 1 ? kInf : -kInf;
            points.push_back({step, step * 2048, 1'700'000'000'000'000 + step * 250'000, value});
            if (isOdd && step % 5000 == 0) // measured again, and one that came late
                points.push_back({step - 4000, 7, 1'700'000'000'000'001, -0.0});
        }
        return points;
    }
    struct Outcome {
        int code;
        QString out, err;
    };
    Outcome ctl(std::vector<std::string> words) {
        words.insert(words.begin(), {"--server", "127.0.0.1:" + std::to_string(m_server->port())});
        std::ostringstream out, err;
        const int code = ctl::run(words, {out, err});
        return {code, QString::fromStdString(out.str()), QString::fromStdString(err.str())};
    }
    Curves readCsv(const QString& name, const QString& wantSuperseded = {}) {
        Curves curves;
        QFile file(name);
        if (!file.open(QIODevice::ReadOnly))
            return curves;
        file.readLine();
        while (!file.atEnd()) {
            const QStringList cells = QString::fromUtf8(file.readLine()).trimmed().split(',');
            if (!wantSuperseded.isEmpty() && cells[2] != wantSuperseded)
                continue;
            curves[{cells[1].toUInt(), cells[3].toStdString()}].push_back(
                sampleOf({cells[4].toLongLong(), cells[5].toLongLong(), cells[6].toLongLong(), std::strtod(qPrintable(cells[7]), nullptr)}));
        }
        for (auto& [key, samples] : curves)
            std::sort(samples.begin(), samples.end());
        return curves;
    }

private slots:
    void initTestCase() {
        m_store = must(store::Store::open(m_dir.filePath("store.db").toStdString()));
        must(m_store->addRun({"demo", "test", nowUs(), ""}));
        for (std::uint32_t attempt : {1u, 2u}) {
            AttemptInfo info;
            info.key = {"demo", attempt};
            info.parent = attempt - 1;
            info.forkStep = attempt == 1 ? 0 : 150'000;
            must(m_store->addAttempt(info));
        }
        add(1, "train/loss", curve(1, kLong, true), 150'000);
        add(1, "train/grad_norm", curve(1, 3000, false), 150'000);
        add(1, "odd/small", curve(1, 6000, true), 150'000);
        add(2, "train/loss", curve(150'001, 160'000, false), INT64_MAX);
        for (int i = 0; i < 3000; ++i) // more than go into one question
            add(2, "rank/" + std::to_string(i) + "/step_ms", curve(150'001, 150'003, false), INT64_MAX);
        for (auto* curves : {&m_all, &m_effective})
            for (auto& [key, samples] : *curves)
                std::sort(samples.begin(), samples.end());
        m_daemon = std::make_unique<StoreDaemon>(*m_store);
        m_server = must(serveControl(*m_daemon, "127.0.0.1:0"));
    }

    void csvHasEveryPoint() {
        const Outcome all = ctl({"export", "demo", "--format", "csv", "--attempts", "all", "--out", m_dir.filePath("all.csv").toStdString()});
        QVERIFY2(all.code == 0, qPrintable(all.err));
        QVERIFY(readCsv(m_dir.filePath("all.csv")) == m_all);
        QVERIFY(readCsv(m_dir.filePath("all.csv"), "0") == m_effective); // marked as they should be
        const Outcome effective = ctl({"export", "demo", "--format", "csv", "--json", "--out", m_dir.filePath("effective.csv").toStdString()});
        QVERIFY2(effective.code == 0, qPrintable(effective.err));
        QVERIFY(readCsv(m_dir.filePath("effective.csv")) == m_effective);
        const QJsonObject said = QJsonDocument::fromJson(effective.out.toUtf8()).object();
        std::size_t wanted = 0, stored = 0;
        for (const auto& [key, samples] : m_effective)
            wanted += samples.size();
        for (const auto& [key, samples] : m_all)
            stored += samples.size();
        QCOMPARE(said["points"].toInteger(), qint64(wanted));
        QCOMPARE(said["points_stored"].toInteger(), qint64(stored));
        QCOMPARE(said["superseded_left_out"].toInteger(), qint64(stored - wanted));
        // In pieces: far less than the long series is in memory at a time.
        QVERIFY2(m_daemon->mostPoints < 100'000, qPrintable(QString::number(m_daemon->mostPoints)));
    }

    void oneSeriesOfMany() {
        const Outcome one = ctl({"export", "demo", "--format", "csv", "--series", "rank/7?/step_ms", "--out", m_dir.filePath("rank.csv").toStdString()});
        QVERIFY2(one.code == 0, qPrintable(one.err));
        const Curves got = readCsv(m_dir.filePath("rank.csv"));
        QCOMPARE(got.size(), std::size_t{10});
        for (const auto& [key, samples] : got)
            QVERIFY(samples == m_effective[key]);
    }

    void tensorBoardReadsEveryPoint() { // but for the longest series: its loader takes a minute for that
        const Outcome done = ctl({"export", "demo", "--format", "tfevents", "--attempts", "all", "--series", "odd/*", "train/grad_norm", "rank/1*", "--out", m_dir.filePath("tb").toStdString()});
        QVERIFY2(done.code == 0, qPrintable(done.err));
        const QString interpreter = tests::pythonWith("tensorboard.util.tensor_util");
        if (interpreter.isEmpty())
            QSKIP("no Python here has the package tensorboard (`./dev bench peers` installs it; TELEHELM_PYTHON names an interpreter)");
        QProcess python;
        python.start(interpreter, {"-c", R"py(
import glob, json, math, struct, sys
from tensorboard.backend.event_processing import event_accumulator, event_file_loader
from tensorboard.util import tensor_util
out = {}
for name in glob.glob(sys.argv[1] + '/attempt-*/events.out.tfevents.*'):
    attempt = name.split('attempt-')[1].split('/')[0]
    for event in event_file_loader.EventFileLoader(name).Load():
        for value in event.summary.value:
            y = tensor_util.make_ndarray(value.tensor).item()
            bits = '7ff8000000000000' if math.isnan(y) else struct.pack('>d', y).hex()
            out.setdefault(attempt + ' ' + value.tag, []).append([event.step, round(event.wall_time * 1e6), bits])
# and as TensorBoard keeps it for its charts
loaded = event_accumulator.EventAccumulator(sys.argv[1] + '/attempt-1', size_guidance={event_accumulator.TENSORS: 0})
loaded.Reload()
out['tags of 1'] = len(loaded.Tags()['tensors'])
out['charted'] = len(loaded.Tensors('odd/small'))
json.dump(out, sys.stdout)
)py", m_dir.filePath("tb")});
        QVERIFY(python.waitForFinished(110'000));
        QVERIFY2(python.exitCode() == 0, python.readAllStandardError().constData());
        const QJsonObject got = QJsonDocument::fromJson(python.readAllStandardOutput()).object();
        QCOMPARE(got["tags of 1"].toInt(), 2);
        QCOMPARE(got["charted"].toInt(), 6001);
        for (const auto& [key, wanted] : m_all) {
            if (key.second == "train/loss" || (key.second.starts_with("rank/") && !key.second.starts_with("rank/1")))
                continue;
            std::vector<Sample> read;
            for (const QJsonValue& value : got[QString::number(key.first) + " " + QString::fromStdString(key.second)].toArray())
                read.push_back({value[0].toInteger(), 0, value[1].toInteger(), value[2].toString().toULongLong(nullptr, 16)});
            std::vector<Sample> plain = wanted;
            for (Sample& sample : plain)
                sample.tokens = 0; // event files have none
            std::sort(read.begin(), read.end());
            std::sort(plain.begin(), plain.end());
            QVERIFY2(read == plain, key.second.c_str());
        }
    }
};

QTEST_GUILESS_MAIN(TestExport)
#include "tst_export.moc"
