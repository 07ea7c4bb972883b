// SPDX-License-Identifier: GPL-3.0-or-later
// Curves: whatever the live stream loses or history repeats, the curve ends up with each point exactly once.
#include <random>

#include <QCoreApplication>
#include <QSignalSpy>
#include <QTest>

#include "data/live_curves.h"
#include "fake_daemon.h"

using namespace telehelm;
using namespace telehelm::app;
using namespace telehelm::app::testing;

namespace {

const std::string kLoss = "train/loss", kNorm = "train/grad_norm", kOther = "perf/step_ms";

double lossAt(std::int64_t step) {
    return step == 37 ? std::numeric_limits<double>::quiet_NaN() : 3.0 + std::sin(static_cast<double>(step));
}

void trainSteps(FakeDaemon& daemon, std::int64_t from, std::int64_t to, const std::function<bool()>& drops,
                std::uint32_t attempt = 1) {
    for (std::int64_t step = from; step <= to; ++step) {
        daemon.emitPoints(
            attempt, {{kLoss, {FakeDaemon::pointAt(step, lossAt(step))}}, {kNorm, {FakeDaemon::pointAt(step, 0.2)}}}, drops());
        daemon.emitPoints(attempt, {{kOther, {FakeDaemon::pointAt(step, 15)}}}, drops());
    }
}

std::vector<double> bruteForceEma(std::int64_t last, double weight) {
    std::vector<double> values;
    ipc::EmaState state;
    for (std::int64_t step = 1; step <= last; ++step)
        values.push_back(FakeDaemon::advance(state, lossAt(step), weight));
    return values;
}

bool isComplete(const CurveData& curve, std::int64_t last) {
    if (curve.x.size() != static_cast<std::size_t>(last))
        return false;
    for (std::size_t i = 0; i < curve.x.size(); ++i)
        if (curve.x[i] != static_cast<double>(i + 1))
            return false;
    return true;
}

CurveData front(const LiveCurves& curves, const std::string& name = kLoss) {
    const auto all = curves.curves("main", name);
    return all.empty() ? CurveData{} : all.front();
}

} // namespace

class TestCurves : public QObject {
    Q_OBJECT

private slots:
    void emaOfTheTailEqualsBruteForce();
    void answersAndNewsOverlapWithoutDoubles();
    void droppedFramesAreRepaired_data();
    void droppedFramesAreRepaired();
    void restartSupersedesTheOldBranch();
    void windowOfThePastHidesTheTailAndComesBack();
    void nanIsKeptAsAMark();
};

void TestCurves::emaOfTheTailEqualsBruteForce() {
    FakeDaemon daemon;
    trainSteps(daemon, 1, 40, [] { return true; });
    SeriesTrack track;
    ipc::SeriesQuery query;
    query.names = {kLoss};
    query.smoothing = 0.9;
    track.setHistory(daemon.answer(query), true);
    for (std::int64_t step = 30; step <= 80; ++step) // the first ones are known already
        track.append(1, FakeDaemon::pointAt(step, lossAt(step)));
    const CurveData curve = track.curves(ipc::Axis::Step, 0.9).front();
    const auto expected = bruteForceEma(80, 0.9);
    QCOMPARE(curve.y.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
        QVERIFY2(std::abs(curve.y[i] - expected[i]) < 1e-12, qPrintable(QString::number(i)));
}

void TestCurves::answersAndNewsOverlapWithoutDoubles() {
    SeriesTrack track;
    for (std::int64_t step = 1; step <= 10; ++step)
        track.append(1, FakeDaemon::pointAt(step, 1));
    track.append(1, FakeDaemon::pointAt(10, 1)); // a repeat
    ipc::SeriesSegment segment;
    segment.key.attempt = 1;
    segment.name = kLoss;
    for (std::int64_t step = 1; step <= 7; ++step) {
        ipc::Bucket bucket;
        bucket.firstStep = bucket.lastStep = step;
        bucket.count = 1;
        segment.buckets.push_back(bucket);
    }
    track.setHistory({segment}, true);
    QCOMPARE(track.tailSize(), std::size_t(3));
    QVERIFY(isComplete(track.curves(ipc::Axis::Step, 0).front(), 10));
    track.append(1, FakeDaemon::pointAt(5, 1)); // late
    QVERIFY(isComplete(track.curves(ipc::Axis::Step, 0).front(), 10));
    QCOMPARE(track.latest()->point.step, 10);
}

void TestCurves::droppedFramesAreRepaired_data() {
    QTest::addColumn<unsigned>("seed");
    for (unsigned seed : {1U, 2U, 3U, 4U})
        QTest::newRow(qPrintable(QString::number(seed))) << seed;
}

void TestCurves::droppedFramesAreRepaired() {
    QFETCH(unsigned, seed);
    FakeDaemon daemon;
    daemon.answerDelayMs = 15;
    std::mt19937 random(seed);
    std::bernoulli_distribution drop(0.15);
    trainSteps(daemon, 1, 50, [] { return true; }); // history from before we came
    Session session(fakeLinks(daemon));
    LiveCurves curves(session, {kLoss, kNorm});
    curves.setCountsRepairs(true);
    curves.setSmoothing(0.95);
    session.open("test");
    QTRY_VERIFY(session.run("main"));
    curves.setRuns({"main"});
    trainSteps(daemon, 51, 51, [] { return false; });
    QTRY_COMPARE(front(curves).x.size(), std::size_t(51));
    for (std::int64_t step = 52; step <= 300; ++step) {
        trainSteps(daemon, step, step, [&] { return drop(random); });
        if (step % 10 == 0)
            QTest::qWait(5);
    }
    trainSteps(daemon, 301, 301, [] { return false; }); // the last frames come through and betray the holes before
    QTRY_VERIFY_WITH_TIMEOUT(isComplete(front(curves), 301) && isComplete(front(curves, kNorm), 301), 20000);
    const CurveData curve = front(curves);
    const auto expected = bruteForceEma(301, 0.95);
    for (std::size_t i = 0; i < expected.size(); ++i)
        QVERIFY2(std::abs(curve.y[i] - expected[i]) < 1e-9, qPrintable(QString::number(i)));
    QTRY_VERIFY(
        std::all_of(curves.gaps("main").begin(), curves.gaps("main").end(), [](const NewsGap& gap) { return gap.closed; }));
    const quint64 emitted = 251 * 3; // since we came
    QVERIFY(session.fidelity().received < emitted);
    QCOMPARE(session.fidelity().received + session.fidelity().repaired, emitted);
}

void TestCurves::restartSupersedesTheOldBranch() {
    FakeDaemon daemon;
    trainSteps(daemon, 1, 60, [] { return true; });
    Session session(fakeLinks(daemon));
    LiveCurves curves(session, {kLoss});
    session.open("test");
    QTRY_VERIFY(session.run("main"));
    curves.setRuns({"main"});
    QTRY_VERIFY(isComplete(front(curves), 60));
    {
        std::lock_guard lock(daemon.mutex);
        daemon.supersededAfter[1] = 40;
    }
    trainSteps(
        daemon, 41, 55, [] { return false; }, 2);
    // At once, before history is asked: one line, no way back in x.
    QTRY_VERIFY(isComplete(front(curves), 55));
    emit session.gapFound("main");
    QTRY_COMPARE(curves.curves("main", kLoss).size(), std::size_t(2));
    QVERIFY(isComplete(front(curves), 55));
    QCOMPARE(curves.curves("main", kLoss).back().x.front(), 41.0);
    QCOMPARE(curves.curves("main", kLoss).back().x.size(), std::size_t(20));
    QVERIFY(curves.curves("main", kLoss).back().superseded);
    QCOMPARE(curves.newestX("main"), 55.0);
}

void TestCurves::windowOfThePastHidesTheTailAndComesBack() {
    FakeDaemon daemon;
    trainSteps(daemon, 1, 1000, [] { return true; });
    Session session(fakeLinks(daemon));
    LiveCurves curves(session, {kLoss});
    session.open("test");
    QTRY_VERIFY(session.run("main"));
    curves.setRuns({"main"});
    QTRY_VERIFY(isComplete(front(curves), 1000));
    curves.setWindow(100, 200);
    QTest::qWait(100);
    curves.setSmoothing(0.5); // asks anew, for the past alone
    QTRY_VERIFY(!front(curves).x.empty() && front(curves).x.back() <= 260);
    trainSteps(daemon, 1001, 1020, [] { return false; });
    QTRY_COMPARE(curves.newestX("main"), 1020.0);
    QVERIFY(front(curves).x.back() <= 260);
    curves.setWindow(0, std::numeric_limits<double>::infinity());
    QTRY_VERIFY(isComplete(front(curves), 1020));
}

void TestCurves::nanIsKeptAsAMark() {
    FakeDaemon daemon;
    trainSteps(daemon, 1, 40, [] { return true; });
    Session session(fakeLinks(daemon));
    LiveCurves curves(session, {kLoss});
    session.open("test");
    QTRY_VERIFY(session.run("main"));
    curves.setRuns({"main"});
    QTRY_COMPARE(front(curves).nonFiniteX, std::vector<double>{37});
    daemon.emitPoints(1, {{kLoss, {FakeDaemon::pointAt(41, INFINITY)}}});
    QTRY_COMPARE(front(curves).nonFiniteX, (std::vector<double>{37, 41}));
    QVERIFY(std::isinf(front(curves).raw.back()));
    QVERIFY(std::isnan(front(curves).lo.back()));
}

QTEST_GUILESS_MAIN(TestCurves)
#include "tst_curves.moc"
