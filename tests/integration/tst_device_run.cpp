// SPDX-License-Identifier: Apache-2.0
// The script that runs a device pack on a machine with a GPU, over a pack of shell scripts that play its programs; and what
// ./dev device-check says where there is no GPU.
#include <QtTest>

#include <QDir>
#include <QFile>
#include <QJsonDocument>
#include <QJsonObject>
#include <QProcess>
#include <QTemporaryDir>

namespace {

struct Outcome {
    int status = -1;
    QByteArray out, errors;
};

Outcome run(const QString& program, const QStringList& arguments, const QProcessEnvironment& environment) {
    QProcess process;
    process.setProcessEnvironment(environment);
    process.start(program, arguments);
    if (!process.waitForFinished(60'000)) {
        return {};
    }
    return {process.exitCode(), process.readAllStandardOutput(), process.readAllStandardError()};
}

QList<QJsonObject> objects(const QByteArray& lines) {
    QList<QJsonObject> found;
    for (const QByteArray& line : lines.split('\n')) {
        if (const auto document = QJsonDocument::fromJson(line); document.isObject()) {
            found << document.object();
        }
    }
    return found;
}

} // namespace

class DeviceRunTest : public QObject {
    Q_OBJECT
private slots:
    void init() {
        m_dir = std::make_unique<QTemporaryDir>();
        QDir(m_dir->path()).mkpath("bin");
        QDir(m_dir->path()).mkpath("lib");
        QVERIFY(QFile::copy(qEnvironmentVariable("TELEHELM_SOURCE") + "/.ci/device-run", m_dir->filePath("run")));
        write("COMMIT", "abc123\n");
        write("lib/NOT-SHIPPED", "");
        program(
            "bench_kernels_cuda",
            R"([ "$1" = --machine ] && echo '{"bench":"machine","gpu":"NVIDIA H200","commit":"'$TELEHELM_COMMIT'"}' || echo '{"bench":"kernels_cuda","ms":1}')");
        program("bench_nccl", R"(echo '{"bench":"nccl_one_gpu","ran":true}')");
        program("bench_train_cuda", R"(echo '{"bench":"train_cuda","ms":2}')");
        program("tst_good", "echo 'Totals: 9 passed, 0 failed, 3 skipped, 0 blacklisted, 17ms'");
        m_environment = QProcessEnvironment::systemEnvironment();
    }

    void checkWritesALineATest() {
        const Outcome got = runPack({"check", "--out", m_dir->filePath("out")});
        QVERIFY2(got.status == 0, got.errors.constData());
        const QList<QJsonObject> lines = objects(written("out", "-NVIDIA-H200-abc123-check.jsonl"));
        QCOMPARE(lines.size(), 2);
        QCOMPARE(lines[0]["commit"].toString(), QString("abc123"));
        QCOMPARE(lines[1]["test"].toString(), QString("tst_good"));
        QCOMPARE(lines[1]["passed"].toInt(), 9);
        QCOMPARE(lines[1]["skipped"].toInt(), 3);
    }

    void failuresAreTold() {
        program("tst_bad",
                "echo 'FAIL!  : T::norm() off by one'; echo 'Totals: 1 passed, 1 failed, 0 skipped, 0 blacklisted, 1ms'; exit 1");
        program("tst_crash", "echo 'before'; kill -SEGV $$");
        const Outcome got = runPack({"check", "--out", m_dir->filePath("out")});
        QCOMPARE(got.status, 1);
        QVERIFY2(got.errors.contains("off by one") && got.errors.contains("tests failed"), got.errors.constData());
        const QList<QJsonObject> lines = objects(written("out", "-check.jsonl"));
        QCOMPARE(lines.size(), 4); // the machine and three programs: a crash does not end the rest
        QCOMPARE(lines[1]["failed"].toInt(), 1);
        QVERIFY(lines[2].contains("error") && lines[2]["status"].toInt() != 0);
        QCOMPARE(lines[3]["test"].toString(), QString("tst_good"));
    }

    void benchKeepsWhatRan() {
        program("bench_nccl", "echo '{\"bench\":\"nccl_one_gpu\",\"ran\":false}'; exit 1");
        const Outcome got = runPack({"bench", "--out", m_dir->filePath("out")});
        QCOMPARE(got.status, 1);
        QVERIFY2(got.errors.contains("failed: nccl"), got.errors.constData());
        QCOMPARE(objects(written("out", "-bench.jsonl")).size(), 3);
        QCOMPARE(runPack({"bench", "--out", m_dir->filePath("out"), "nonsense"}).status, 2);
    }

    void noDeviceIsOneLine() {
        program("bench_kernels_cuda", "echo 'no CUDA device: no NVIDIA driver is loaded' >&2; exit 1");
        for (const char* what : {"check", "bench"}) {
            const Outcome got = runPack({what});
            QCOMPARE(got.status, 1);
            QCOMPARE(got.out, QByteArray());
            QCOMPARE(got.errors, QByteArray("run: no CUDA device: no NVIDIA driver is loaded\n"));
        }
    }

    void sanitizersSeeTheKernelsAlone() {
        QDir(m_dir->path()).mkpath("cuda/bin");
        program("../cuda/bin/compute-sanitizer",
                "tool=$2; shift 4; \"$@\"; echo \"========= ERROR SUMMARY: $(( ${#tool} - 8 )) errors\"; [ $tool = memcheck ] || exit 99");
        program("tst_cuda_rows", "echo \"Totals: 1 passed, 0 failed, 0 skipped, 0 blacklisted, 1ms\"");
        m_environment.insert("CUDA_HOME", m_dir->filePath("cuda"));
        const Outcome clean = runPack({"check", "--out", m_dir->filePath("out"), "--sanitizer", "memcheck"});
        QVERIFY2(clean.status == 0, clean.errors.constData());
        const QList<QJsonObject> lines = objects(written("out", "-check-memcheck.jsonl"));
        QCOMPARE(lines.size(), 2); // not tst_good
        QCOMPARE(lines[1]["test"].toString(), QString("tst_cuda_rows"));
        QCOMPARE(lines[1]["passed"].toInt(), 1);
        QCOMPARE(lines[1]["sanitizer"].toString(), QString("memcheck"));
        QCOMPARE(lines[1]["sanitizer_errors"].toInt(-1), 0);
        const Outcome faulty = runPack({"check", "--out", m_dir->filePath("out"), "--sanitizer", "racecheck"});
        QCOMPARE(faulty.status, 1);
        QCOMPARE(objects(written("out", "-check-racecheck.jsonl")).value(1)["sanitizer_errors"].toInt(), 1);
        QCOMPARE(runPack({"check", "--sanitizer", "lint"}).status, 2);
        m_environment.insert("CUDA_HOME", m_dir->filePath("nowhere"));
        const Outcome missing = runPack({"check", "--sanitizer", "memcheck"});
        QVERIFY2(missing.status == 1 || QFile::exists("/usr/bin/compute-sanitizer"), missing.errors.constData());
    }

    /// Where its telemetry lies, and what to do with it.
    void aRunIsBroughtHome() {
        program("telehelm-rank", "echo \"$@\"");
        const Outcome textless = runPack({"train"});
        QCOMPARE(textless.status, 1);
        QVERIFY2(textless.errors.contains("has no text"), textless.errors.constData());
        QDir(m_dir->path()).mkpath("cache/telehelm/corpus/demo");
        const Outcome got = runPack({"train", "--out", m_dir->filePath("out")});
        QVERIFY2(got.status == 0, got.errors.constData());
        QVERIFY(got.out.contains("--offline --run-dir " + m_dir->filePath("out/demo-cuda/attempt-1").toUtf8() + " --steps 1000"));
        QVERIFY(got.errors.contains("telehelmctl import demo-cuda"));
        QVERIFY(runPack({"train", "--steps", "5"}).out.endsWith("attempt-1 --steps 5\n"));
    }

    void librariesAreLookedFor() {
        write("lib/NOT-SHIPPED", "libtelehelm-nobody-has.so.1\n");
        const Outcome missing = runPack({"check"});
        QCOMPARE(missing.status, 1);
        QVERIFY2(missing.errors.contains("libtelehelm-nobody-has.so.1") && missing.errors.contains("TELEHELM_CUDA_LIBS"),
                 missing.errors.constData());
        QDir(m_dir->path()).mkpath("brought");
        write("brought/libtelehelm-nobody-has.so.1", "");
        m_environment.insert("TELEHELM_CUDA_LIBS", m_dir->filePath("brought"));
        QVERIFY(
            runPack({"libraries"}).out.contains("libtelehelm-nobody-has.so.1: " + m_dir->filePath("brought").toUtf8() + "\n"));
        program("tst_path", "echo \"$LD_LIBRARY_PATH\"");
        QVERIFY(
            runPack({"exec", "tst_path"}).out.startsWith((m_dir->filePath("lib") + ":" + m_dir->filePath("brought")).toUtf8()));
    }

    void devSaysSoWithoutAGpu() {
        if (QFile::exists("/dev/nvidiactl") || QFile::exists("/dev/dxg"))
            QSKIP("this machine has a GPU");
        const Outcome got = run(qEnvironmentVariable("TELEHELM_SOURCE") + "/dev", {"device-bench"}, m_environment);
        QCOMPARE(got.status, 1);
        QCOMPARE(got.errors.count('\n'), 1);
        QVERIFY2(got.errors.contains("no NVIDIA GPU here"), got.errors.constData());
    }

private:
    void write(const QString& name, const QByteArray& text) {
        QFile file(m_dir->filePath(name));
        QVERIFY(file.open(QIODevice::WriteOnly));
        file.write(text);
    }
    void program(const QString& name, const QByteArray& script) {
        write("bin/" + name, "#!/bin/sh\n" + script + "\n");
        QFile::setPermissions(m_dir->filePath("bin/" + name), QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    }
    Outcome runPack(const QStringList& arguments) {
        return run("bash", QStringList{m_dir->filePath("run")} + arguments, m_environment);
    }
    QByteArray written(const QString& folder, const QString& end) {
        const QStringList names = QDir(m_dir->filePath(folder)).entryList({"*" + end});
        QFile file(m_dir->filePath(folder + "/" + names.value(0)));
        return names.size() == 1 && file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
    }

    std::unique_ptr<QTemporaryDir> m_dir;
    QProcessEnvironment m_environment;
};

QTEST_GUILESS_MAIN(DeviceRunTest)
#include "tst_device_run.moc"
