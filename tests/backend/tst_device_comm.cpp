// SPDX-License-Identifier: Apache-2.0
// Device communicators on a real device: the staged adapter with several ranks (threads) on one, NCCL alone.
// tests/bench/bench_nccl tries NCCL with more. What they do without a device: tst_staged, tst_nccl.
#include <QtTest>

#include "device_comm_checks.h"
#include "telehelm/kernels/device.h"

using namespace telehelm;
using namespace telehelm::comm;

class DeviceCommTest : public QObject {
    Q_OBJECT
private slots:
    /// Without NCCL its stand-in names what is missing.
    void whatIsMissingIsNamed() {
        if (!ncclVersion().empty())
            QSKIP("this build has NCCL");
        const auto id = makeNcclId();
        QVERIFY(!id && id.error().text().find("no NCCL") != std::string::npos);
        const auto host = makeSelfCommunicator();
        QVERIFY(!makeNcclCommunicator(*host, "world"));
    }

    void staged_data() {
        QTest::addColumn<int>("ranks");
        for (const int ranks : {1, 2, 3})
            QTest::addRow("%d ranks", ranks) << ranks;
    }
    void staged() {
        QFETCH(int, ranks);
        if (const auto report = kernels::cudaReport(); report.devices.empty())
            QSKIP(report.whyNone.c_str());
        try {
            tests::onThreads(ranks, tests::checkStaged);
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }

    void ncclAlone() {
        if (const auto report = kernels::cudaReport(); report.devices.empty())
            QSKIP(report.whyNone.c_str());
        if (ncclVersion().empty())
            QSKIP("this build has no NCCL");
        try {
            const auto host = makeSelfCommunicator();
            const auto world = makeNcclCommunicator(*host, "world");
            QVERIFY2(world.has_value(), world ? "" : world.error().text().c_str());
            tests::checkDeviceCommunicator(**world);
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }
};

QTEST_GUILESS_MAIN(DeviceCommTest)
#include "tst_device_comm.moc"
