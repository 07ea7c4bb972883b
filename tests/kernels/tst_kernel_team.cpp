// SPDX-License-Identifier: Apache-2.0
// Teams: every member runs once, shares cover everything exactly once, barriers hold.
#include <QtTest>

#include <atomic>
#include <vector>

#include "telehelm/kernels/linear.h"
#include "telehelm/kernels/team.h"

using namespace telehelm::kernels;

class TestKernelTeam : public QObject {
    Q_OBJECT

private slots:
    void sharesCoverAllOnce_data();
    void sharesCoverAllOnce();
    void barrierWaitsForAll();
    void calibrationIsPlausible();
};

void TestKernelTeam::sharesCoverAllOnce_data() {
    QTest::addColumn<int>("size");
    QTest::addColumn<int>("grain");
    QTest::addColumn<int>("threads");
    for (const int size : {0, 1, 15, 16, 17, 100, 257})
        for (const int grain : {1, 16})
            for (const int threads : {1, 2, 3, 7})
                QTest::addRow("%d by %d over %d", size, grain, threads) << size << grain << threads;
}

void TestKernelTeam::sharesCoverAllOnce() {
    QFETCH(int, size);
    QFETCH(int, grain);
    QFETCH(int, threads);
    std::int64_t next = 0;
    for (int index = 0; index < threads; ++index) {
        const Range range = Worker{index, threads}.share(size, grain);
        QCOMPARE(range.from, next);
        QVERIFY(range.size() >= 0);
        QVERIFY(range.from % grain == 0 || range.from == size);
        next = range.to;
    }
    QCOMPARE(next, std::int64_t{size});
}

void TestKernelTeam::barrierWaitsForAll() {
    constexpr int kThreads = 4;
    std::atomic<int> arrived = 0, wrong = 0, members = 0;
    runTeam(kThreads, [&](const Worker& worker) {
        ++members;
        for (int round = 1; round <= 50; ++round) {
            ++arrived;
            worker.barrier();
            if (arrived != round * worker.count)
                ++wrong;
            worker.barrier();
        }
    });
    QCOMPARE(members.load(), kThreads);
    QCOMPARE(wrong.load(), 0);
}

void TestKernelTeam::calibrationIsPlausible() {
    const double gflops = calibrateSgemmGflops(1);
    QVERIFY2(gflops > 0.1 && gflops < 10'000, qPrintable(QString::number(gflops)));
}

QTEST_GUILESS_MAIN(TestKernelTeam)
#include "tst_kernel_team.moc"
