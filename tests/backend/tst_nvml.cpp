// SPDX-License-Identifier: Apache-2.0
// A GPU's sensors as telemetry, from a driver library that the test plays (fake_nvml.cpp); and what a machine without one says.
#include <QtTest>

#include <cstdlib>

#include <dlfcn.h>

#include <QTemporaryDir>

#include "fake_nvml.h"
#include "train/gpu_report.h"
#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::train;

class NvmlTest : public QObject {
    Q_OBJECT
private slots:
    void initTestCase() {
        m_library = (QCoreApplication::applicationDirPath() + "/fake_nvml.so").toStdString();
        void* handle = dlopen(m_library.c_str(), RTLD_NOW);
        QVERIFY2(handle != nullptr, dlerror());
        m_fake = reinterpret_cast<FakeNvml* (*)()>(dlsym(handle, "fakeNvml"))();
    }
    void init() {
        m_fake->status = m_fake->eccStatus = m_fake->initStatus = 0;
        m_fake->uncorrected = 0;
        unsetenv("CUDA_VISIBLE_DEVICES");
    }
    /// Whatever was opened was closed.
    void cleanup() { QCOMPARE(m_fake->users.load(), 0); }

    void everySensor() {
        const auto device = NvmlDevice::open(m_library, 0);
        QVERIFY2(device.has_value(), device ? "" : device.error().text().c_str());
        QCOMPARE((*device)->text(), std::string("NVIDIA H200, driver 580.159.04"));
        const GpuReading r = (*device)->read();
        QCOMPARE(r.temperatureC, 45.0);
        QCOMPARE(r.smClockMhz, 1980.0);
        QCOMPARE(r.memoryClockMhz, 3201.0);
        QCOMPARE(r.powerW, 512.345);
        QCOMPARE(r.memoryUsedBytes, 123'456'789'012.0);
        QCOMPARE(r.utilisationPercent, 97.0);
        QCOMPARE(r.eccCorrected, 3.0);
        QCOMPARE(r.eccUncorrected, 0.0);
        QVERIFY(!r.isLost);
    }

    void deviceAsCudaCounts_data() {
        QTest::addColumn<QByteArray>("visible");
        QTest::addColumn<int>("index");
        QTest::addColumn<int>("opened"); // −1: no such GPU
        QTest::newRow("all visible") << QByteArray() << 1 << 1;
        QTest::newRow("turned round") << QByteArray("1,0") << 0 << 1;
        QTest::newRow("by UUID") << QByteArray("GPU-b") << 0 << 1;
        QTest::newRow("not visible") << QByteArray("1") << 1 << -1;
        QTest::newRow("no such GPU") << QByteArray() << 7 << -1;
        QTest::newRow("unknown UUID") << QByteArray("GPU-x") << 0 << -1;
    }
    void deviceAsCudaCounts() {
        QFETCH(QByteArray, visible);
        QFETCH(int, index);
        QFETCH(int, opened);
        if (!visible.isEmpty())
            setenv("CUDA_VISIBLE_DEVICES", visible.constData(), 1);
        m_fake->opened = -1;
        const auto device = NvmlDevice::open(m_library, index);
        QCOMPARE(device.has_value(), opened >= 0);
        QCOMPARE(m_fake->opened.load(), opened);
        if (!device)
            QVERIFY2(device.error().text().find("NVML knows no GPU") != std::string::npos, device.error().text().c_str());
    }

    void whatIsMissing() {
        const auto none = NvmlDevice::open("libnvidia-ml-that-nobody-has.so.1", 0);
        QVERIFY(!none);
        QVERIFY2(none.error().text().find("libnvidia-ml-that-nobody-has.so.1") == 0, none.error().text().c_str());
        const auto other = NvmlDevice::open("libz.so.1", 0);
        QVERIFY(!other);
        QVERIFY2(other.error().text().find("is no NVML") != std::string::npos, other.error().text().c_str());
        m_fake->initStatus = 9;
        const auto driver = NvmlDevice::open(m_library, 0);
        QVERIFY(!driver);
        QVERIFY2(driver.error().text().find("Driver Not Loaded") != std::string::npos, driver.error().text().c_str());
    }

    void unsupportedStaysUnknown() {
        m_fake->eccStatus = 3;
        const auto device = NvmlDevice::open(m_library, 0);
        const GpuReading r = (*device)->read();
        QVERIFY(std::isnan(r.eccCorrected) && std::isnan(r.eccUncorrected));
        QCOMPARE(r.temperatureC, 45.0);
    }

    void samplerReadsByItself() {
        const GpuSampler sampler(std::move(*NvmlDevice::open(m_library, 0)), std::chrono::milliseconds(5));
        QCOMPARE(sampler.latest().temperatureC, 45.0);
        m_fake->temperature = 71;
        QTRY_COMPARE(sampler.latest().temperatureC, 71.0);
        m_fake->temperature = 45;
    }

    void reportTellsSeriesAndEvents() {
        tests::RecordingLink link;
        Telemetry telemetry(&link, {"run", 1});
        const auto world = comm::makeSelfCommunicator();
        const auto told = [&] {
            GpuReport report(m_library, 0); // a sampler that has just read
            report.gather(*world, telemetry);
        };
        told();
        QCOMPARE(link.values("rank/0/gpu_temperature_c"), std::vector<double>{45});
        QCOMPARE(link.values("rank/0/gpu_power_w"), std::vector<double>{512.345});
        QCOMPARE(link.values("rank/0/gpu_memory_bytes"), std::vector<double>{123'456'789'012});
        QCOMPARE(link.values("rank/0/gpu_ecc_uncorrected"), std::vector<double>{0});
        QVERIFY(link.events.empty());
        m_fake->eccStatus = 3;
        told();
        QCOMPARE(link.values("rank/0/gpu_ecc_uncorrected").size(), std::size_t(1)); // an unsupported sensor has no points
        QCOMPARE(link.values("rank/0/gpu_sm_clock_mhz").size(), std::size_t(2));
    }

    void badNewsIsAnEvent() {
        tests::RecordingLink link;
        Telemetry telemetry(&link, {"run", 1});
        const auto world = comm::makeSelfCommunicator();
        m_fake->uncorrected = 4; // of before this run
        GpuReport report(m_library, 0);
        report.gather(*world, telemetry);
        QVERIFY(link.events.empty());
        m_fake->uncorrected = 6;
        QTRY_VERIFY_WITH_TIMEOUT((report.gather(*world, telemetry), !link.events.empty()), 10'000);
        QCOMPARE(link.events.front().severity, ipc::Severity::Warning);
        QCOMPARE(link.events.front().facts["errors"], std::string("2"));
        m_fake->status = 15;
        QTRY_VERIFY_WITH_TIMEOUT((report.gather(*world, telemetry), link.events.size() > 1), 10'000);
        QCOMPARE(link.events.back().severity, ipc::Severity::Critical);
        QVERIFY(link.events.back().text.find("rank 0 is lost") != std::string::npos);
        report.gather(*world, telemetry); // said once
        QCOMPARE(link.events.size(), std::size_t(2));
    }

    /// A whole run: points beside the ranks' own, and the GPU in the facts of its start.
    void inATrainer() {
        const QTemporaryDir dir;
        const std::filesystem::path folder = dir.path().toStdString();
        tests::makeTinyCorpus(folder / "corpus");
        tests::RecordingLink link;
        tests::runTraining(tests::parsed(tests::tinyConfig(folder / "corpus")), folder / "checkpoints", link, 1,
                           [&](TrainerOptions& options) { options.nvmlLibrary = m_library; });
        QCOMPARE(link.values("rank/0/gpu_temperature_c").size(), link.values("rank/0/step_ms").size());
        QVERIFY(!link.values("rank/0/step_ms").empty());
        QCOMPARE(link.eventsOf(ipc::EventKind::AttemptStarted).front().facts["gpu_readings"],
                 std::string("NVIDIA H200, driver 580.159.04"));
    }

    /// Without the library the run goes on without these series, and its start says so in one fact and one line.
    void inATrainerWithoutNvml() {
        const QTemporaryDir dir;
        const std::filesystem::path folder = dir.path().toStdString();
        tests::makeTinyCorpus(folder / "corpus");
        tests::RecordingLink link;
        int notes = 0;
        tests::runTraining(tests::parsed(tests::tinyConfig(folder / "corpus")), folder / "checkpoints", link, 1,
                           [&](TrainerOptions& options) {
                               options.nvmlLibrary = "libnvidia-ml-that-nobody-has.so.1";
                               options.onNote = [&](const std::string& text) {
                                   notes += text.find("GPU readings: none: libnvidia-ml-that") == 0 ? 1 : 0;
                               };
                           });
        QVERIFY(link.values("rank/0/gpu_temperature_c").empty());
        QVERIFY(!link.values("rank/0/step_ms").empty());
        QCOMPARE(notes, 1);
        QVERIFY(link.eventsOf(ipc::EventKind::AttemptStarted).front().facts["gpu_readings"].find("none: ") == 0);
    }

private:
    std::string m_library;
    FakeNvml* m_fake = nullptr;
};

QTEST_GUILESS_MAIN(NvmlTest)
#include "tst_nvml.moc"
