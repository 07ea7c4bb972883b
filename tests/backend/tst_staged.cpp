// SPDX-License-Identifier: Apache-2.0
// The staged adapter on a device whose copies come late (deferred_runtime.cpp): on one rank, on threads and under mpirun, which
// runs this program again.
#include <QtTest>

#include "mpirun_self.h"

#include "comm/mpi_world.h"
#include "device_comm_checks.h"

using namespace telehelm;
using namespace telehelm::comm;

namespace {

int runAsRank() {
    const MpiWorld mpi;
    try {
        const auto host = mpi.communicator();
        tests::checkStaged(*host);
        if (host->rank() == 0) {
            std::puts("all ranks passed");
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "failed: %s\n", error.what());
        mpi.abort(1);
    }
    return 0;
}

} // namespace

class StagedTest : public QObject {
    Q_OBJECT
private slots:
    void alone() {
        try {
            tests::checkStaged(*makeSelfCommunicator());
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }

    void onThreads_data() {
        QTest::addColumn<int>("ranks");
        for (const int ranks : {2, 3, 4})
            QTest::addRow("%d ranks", ranks) << ranks;
    }
    void onThreads() {
        QFETCH(int, ranks);
        try {
            tests::onThreads(ranks, tests::checkStaged);
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }

    void underMpirun_data() {
        QTest::addColumn<int>("ranks");
        QTest::newRow("2 ranks") << 2;
        QTest::newRow("3 ranks") << 3;
    }
    void underMpirun() {
        QFETCH(int, ranks);
        if (!telehelm::tests::hasMpirun())
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        const telehelm::tests::MpiJob job = telehelm::tests::mpirunSelf(ranks);
        QVERIFY(job.ended);
        QVERIFY2(job.exitCode == 0, job.errors.constData());
        QVERIFY(job.output.contains("all ranks passed"));
    }
};

int main(int argc, char** argv) {
    if (launchedByMpi())
        return runAsRank();
    QCoreApplication app(argc, argv);
    StagedTest test;
    return QTest::qExec(&test, argc, argv);
}
#include "tst_staged.moc"
