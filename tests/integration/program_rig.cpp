// SPDX-License-Identifier: Apache-2.0
#include "program_rig.h"

#include <QCoreApplication>
#include <QDir>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QProcess>

#include "data/corpus_writer.h"

namespace telehelm::tests {
namespace {

constexpr const char* kConfig = R"(name = "@NAME@"
steps = 1_000_000
[model]
layers = 1
hidden_size = 32
attention_heads = 2
ffn_hidden_size = 48
vocab_size = 272
context_length = 32
standard_deviation = 2.0e-2
matrix_standard_deviation = 2.0e-2
[optimizer]
learning_rate = 1.0e-3
matrix_learning_rate = 1.0e-3
[batch]
sequences = 4
[data]
corpus = "corpus"
[data.mixture]
Code = 50.0
WebText = 50.0
[parallel]
data = @RANKS@
[validation]
every_steps = 1000
sequences_per_domain = 1
[checkpoint]
every_steps = 0
keep_last = 100
)";

void writeTinyCorpus(const QString& dir) {
    std::vector<std::string> code, web;
    for (int i = 0; i < 100; ++i) {
        std::string text = "def f" + std::to_string(i) + "(x):\n", words;
        for (int j = 0; j < 10; ++j) {
            text += "    x = x * " + std::to_string(i * j) + " + f" + std::to_string(j) + "(x)\n";
            words += "Page " + std::to_string(i) + " tells about thing " + std::to_string(j * 7 % 13) + ". ";
        }
        code.push_back(text);
        web.push_back(words);
    }
    if (auto made = data::writeCorpus(dir.toStdString(), {{"Code", "code", code}, {"WebText", "en", web}}); !made)
        qFatal("%s", made.error().text().c_str());
}

QString programPath(const QString& name) {
    return qEnvironmentVariable("TELEHELM_BIN", QCoreApplication::applicationDirPath()) + "/" + name;
}

} // namespace

Place::Place() { writeTinyCorpus(path("corpus")); }

Said Place::run(const QString& program, const QStringList& arguments, const QStringList& environment, int timeoutMs) const {
    QProcess process;
    QProcessEnvironment variables = QProcessEnvironment::systemEnvironment();
    for (const char* name : {"XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"})
        variables.insert(name, path(QString(name).toLower()));
    for (const QString& setting : environment)
        variables.insert(setting.section('=', 0, 0), setting.section('=', 1));
    process.setProcessEnvironment(variables);
    process.setWorkingDirectory(m_dir.path());
    process.start(programPath(program), arguments);
    Said said;
    if (!process.waitForFinished(timeoutMs))
        process.kill();
    else if (process.exitStatus() == QProcess::NormalExit)
        said.code = process.exitCode();
    process.waitForFinished(5000);
    said.out = QString::fromUtf8(process.readAllStandardOutput());
    said.err = QString::fromUtf8(process.readAllStandardError());
    return said;
}

Said Place::ctl(const QStringList& arguments, const QStringList& environment) const {
    return run("telehelmctl", QStringList{"--state-dir", state()} + arguments, environment, 120'000);
}

Said Place::startDaemon(const QStringList& environment) const { return ctl({"daemon", "start", "--any-port"}, environment); }

void Place::stopDaemon() const { (void)ctl({"daemon", "stop", "--stop-jobs"}); }

QString Place::config(const QString& name, int ranks, const QString& from, const QString& to) const {
    QString text = QString(kConfig).replace("@NAME@", name).replace("@RANKS@", QString::number(ranks));
    if (!from.isEmpty() && !text.contains(from))
        qFatal("the config has no “%s”", qPrintable(from));
    if (!from.isEmpty())
        text.replace(from, to);
    QFile file(path(name + ".toml"));
    if (!file.open(QIODevice::WriteOnly) || file.write(text.toUtf8()) < 0)
        qFatal("%s cannot be written", qPrintable(file.fileName()));
    return file.fileName();
}

QStringList Place::strays() const {
    QStringList found;
    for (const QString& pid : QDir("/proc").entryList(QDir::Dirs)) {
        QFile file("/proc/" + pid + "/cmdline");
        if (pid.toLongLong() <= 0 || pid.toLongLong() == QCoreApplication::applicationPid() || !file.open(QIODevice::ReadOnly))
            continue;
        if (const QByteArray line = file.readAll().replace('\0', ' '); line.contains(m_dir.path().toUtf8()))
            found << pid + ": " + line;
    }
    return found;
}

QString Place::runState(const QString& run) const {
    const auto attempts = QJsonDocument::fromJson(ctl({"show", run, "--json"}).out.toUtf8()).object()["attempts"].toArray();
    return attempts.isEmpty() ? QString() : attempts.last().toObject()["state"].toString();
}

qint64 Place::step(const QString& run) const {
    const auto attempts = QJsonDocument::fromJson(ctl({"show", run, "--json"}).out.toUtf8()).object()["attempts"].toArray();
    return attempts.isEmpty() ? -1 : attempts.last().toObject()["step"].toInteger(-1);
}

SmallDisk::SmallDisk(const QString& path, const QString& options) : m_path(path) {
    QDir().mkpath(path);
    m_isMounted = QProcess::execute("mount", {"-t", "tmpfs", "-o", options, "tmpfs", path}) == 0;
}

SmallDisk::~SmallDisk() {
    if (m_isMounted)
        QProcess::execute("umount", {"-l", m_path});
}

bool SmallDisk::remount(const QString& options) const {
    return QProcess::execute("mount", {"-o", "remount," + options, m_path}) == 0;
}

} // namespace telehelm::tests
