// SPDX-License-Identifier: Apache-2.0
// The dependency picture of README as rules: which folder may include what, and which libraries a program may load.
// CMake's include paths stop most of it at compile time; this catches what the compiler can't see.
#include <QDirIterator>
#include <QFile>
#include <QProcess>
#include <QRegularExpression>
#include <QTemporaryDir>
#include <QtTest>

namespace {

struct IncludeRule {
    const char* folder;    // applies to files below it …
    const char* except;    // … but not to these (regular expression on the relative path), or ""
    const char* forbidden; // regular expression on the included path
    const char* why;
};

constexpr IncludeRule kIncludeRules[] = {
    {"ipc", "", R"(^(Q[A-Z]|Qt|qcustomplot))", "Qt lives in app/ and in tests only"},
    {"backend", "", R"(^(Q[A-Z]|Qt|qcustomplot))", "Qt lives in app/ and in tests only"},
    {"kernels", "", R"(^(Q[A-Z]|Qt|qcustomplot))", "Qt lives in app/ and in tests only"},
    {"app", "^app/plots/", R"(^qcustomplot)", "QCustomPlot lives in app/plots/ only"},
    {"app", "", R"(^(google/|grpc|zmq))", "protobuf, gRPC and ZeroMQ headers live in ipc/src/ only"},
    {"backend", "", R"(^(google/|grpc|zmq))", "protobuf, gRPC and ZeroMQ headers live in ipc/src/ only"},
    {"ipc/include", "", R"(^(google/|grpc|zmq))", "ipc's public headers show plain values"},
    {"kernels", "", R"(^(telehelm/ipc/|google/|grpc|zmq|mpi\.h))", "kernels see nothing but themselves"},
    {"ipc", "", R"(^(telehelm/kernels/|mpi\.h|cblas))", "ipc knows neither trainer nor kernels"},
    {"app", "", R"(^(telehelm/kernels/|mpi\.h|cblas|sqlite3|cuda|nccl))", "the app sees ipc and nothing behind it"},
    {"backend/store", "", R"(^(model|train|optim|rank|comm|parallel)/)", "the daemon's side never links trainer code"},
    {"backend/supervise", "", R"(^(model|train|optim|rank|comm|parallel)/)", "the daemon's side never links trainer code"},
    {"backend/daemon", "", R"(^(model|train|optim|rank|comm|parallel)/)", "the daemon's side never links trainer code"},
    {"backend/ctl", "", R"(^(model|train|optim|rank|comm|store|daemon)/)", "telehelmctl is a client like any other"},
    {"backend/ctl", "^backend/ctl/plan_command", R"(^parallel/)", "telehelmctl is a client like any other; only its plan is its own"},
    {"backend", "^backend/comm/", R"(^mpi\.h)", "MPI lives in backend/comm/ only"},
    {"backend", "^backend/comm/nccl/", R"(^(nccl|cuda))", "CUDA and NCCL live in kernels/cuda/ and backend/comm/nccl/"},
    {"kernels", "^kernels/cuda/", R"(^(nccl|cuda|cublas|cudnn))", "CUDA lives in kernels/cuda/ only"},
};

struct LinkRule {
    const char* program;
    const char* forbidden; // regular expression on a needed library's name
};

constexpr LinkRule kLinkRules[] = {
    {"telehelm", R"(^lib(mpi|openblas|sqlite3|cudart|nccl|gomp))"},
    {"telehelmd", R"(^lib(Qt|mpi|openblas|cudart|nccl|cublas|gomp))"},
    {"telehelmctl", R"(^lib(Qt|mpi|openblas|sqlite3|cudart|nccl|gomp))"},
    {"telehelm-rank", R"(^lib(Qt|sqlite3|qcustomplot))"},
    {"telehelm-data", R"(^lib(Qt|mpi|openblas|sqlite3))"},
};

QStringList includesOf(const QString& path) {
    QFile file(path);
    if (!file.open(QIODevice::ReadOnly))
        return {};
    static const QRegularExpression include("^\\s*#\\s*include\\s*[<\"]([^>\"]+)[>\"]", QRegularExpression::MultilineOption);
    QStringList found;
    for (auto matches = include.globalMatch(QString::fromUtf8(file.readAll())); matches.hasNext();)
        found << matches.next().captured(1);
    return found;
}

QStringList sourcesBelow(const QString& folder) {
    QStringList found;
    QDirIterator it(folder, {"*.h", "*.cpp", "*.cu", "*.cuh", "*.hpp", "*.c"}, QDir::Files, QDirIterator::Subdirectories);
    while (it.hasNext())
        found << it.next();
    found.sort();
    return found;
}

/// "path includes x: why" for each broken rule below `root`.
QStringList includeViolations(const QString& root) {
    QStringList violations;
    for (const IncludeRule& rule : kIncludeRules) {
        const QRegularExpression except(rule.except), forbidden(rule.forbidden);
        for (const QString& path : sourcesBelow(root + '/' + rule.folder)) {
            const QString relative = QDir(root).relativeFilePath(path);
            if (*rule.except != '\0' && except.match(relative).hasMatch())
                continue;
            for (const QString& included : includesOf(path))
                if (forbidden.match(included).hasMatch())
                    violations << QStringLiteral("%1 includes %2: %3").arg(relative, included, rule.why);
        }
    }
    return violations;
}

QStringList neededLibraries(const QString& program) {
    QProcess readelf;
    readelf.start("readelf", {"-d", program});
    if (!readelf.waitForFinished() || readelf.exitCode() != 0)
        return {};
    static const QRegularExpression needed(R"(\(NEEDED\).*\[(.+)\])");
    QStringList found;
    for (const QString& line : QString::fromUtf8(readelf.readAllStandardOutput()).split('\n'))
        if (const auto match = needed.match(line); match.hasMatch())
            found << match.captured(1);
    return found;
}

} // namespace

class TestLayering : public QObject {
    Q_OBJECT
private slots:
    void initTestCase() {
        m_root = qEnvironmentVariable("TELEHELM_SOURCE");
        QVERIFY2(QFile::exists(m_root + "/CMakeLists.txt"), "TELEHELM_SOURCE must name the source folder");
    }

    void includes() {
        const QStringList violations = includeViolations(m_root);
        QVERIFY2(violations.isEmpty(), qPrintable("\n" + violations.join('\n')));
    }

    /// The rules can fail: each one finds a file planted against it.
    void plantedIncludesAreFound() {
        const std::pair<const char*, const char*> planted[] = {
            {"app/pages/x.cpp", "qcustomplot.h"},  {"app/session/x.cpp", "zmq.h"},      {"backend/daemon/x.cpp", "train/trainer.h"},
            {"backend/train/x.cpp", "QObject"},    {"ipc/include/x.h", "grpcpp/grpcpp.h"}, {"kernels/cpu/x.cpp", "cuda_runtime.h"},
            {"backend/train/y.cpp", "mpi.h"},      {"app/data/x.cpp", "telehelm/kernels/gemm.h"},
        };
        for (const auto& [path, header] : planted) {
            QTemporaryDir dir;
            const QString file = dir.filePath(path);
            QVERIFY(QDir().mkpath(QFileInfo(file).path()));
            QFile out(file);
            QVERIFY(out.open(QIODevice::WriteOnly));
            out.write(QByteArray("#include <") + header + ">\n");
            out.close();
            QVERIFY2(!includeViolations(dir.path()).isEmpty(), path);
        }
    }

    void links_data() {
        QTest::addColumn<QString>("program");
        QTest::addColumn<QString>("forbidden");
        for (const LinkRule& rule : kLinkRules)
            QTest::newRow(rule.program) << QString(rule.program) << QString(rule.forbidden);
    }
    void links() {
        QFETCH(QString, program);
        QFETCH(QString, forbidden);
        const QString path = qEnvironmentVariable("TELEHELM_BIN") + '/' + program;
        if (!QFile::exists(path))
            QSKIP("this program is not part of this build");
        const QStringList needed = neededLibraries(path);
        QVERIFY2(!needed.isEmpty(), "readelf (binutils) could not read the program");
        for (const QString& library : needed)
            QVERIFY2(!QRegularExpression(forbidden).match(library).hasMatch(), qPrintable(program + " links " + library));
    }

    void everyFileNamesItsLicence() {
        QStringList missing;
        for (const char* folder : {"app", "backend", "ipc", "kernels", "tests"})
            for (const QString& path : sourcesBelow(m_root + '/' + folder)) {
                QFile file(path);
                QVERIFY(file.open(QIODevice::ReadOnly));
                const QString relative = QDir(m_root).relativeFilePath(path);
                const bool gpl = relative.startsWith("app/") || relative.startsWith("tests/app/");
                const QByteArray want = gpl ? "SPDX-License-Identifier: GPL-3.0-or-later" : "SPDX-License-Identifier: Apache-2.0";
                if (!file.readLine().contains(want))
                    missing << relative + " should begin with " + want;
            }
        QVERIFY2(missing.isEmpty(), qPrintable("\n" + missing.join('\n')));
    }

private:
    QString m_root;
};

QTEST_GUILESS_MAIN(TestLayering)
#include "tst_layering.moc"
