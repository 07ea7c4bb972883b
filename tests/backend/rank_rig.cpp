// SPDX-License-Identifier: Apache-2.0
#include "rank_rig.h"

#include <fstream>
#include <stdexcept>

#include <QStandardPaths>

#include "train/checkpoint_loader.h"
#include "train/checkpoint_store.h"

namespace telehelm::tests {

namespace fs = std::filesystem;

std::vector<float> stateOf(const fs::path& checkpoint, const config::RunConfig& config) {
    const auto manifest = train::verifyCheckpoint(checkpoint);
    if (!manifest) {
        throw std::runtime_error(manifest.error().text());
    }
    const auto layout = model::parameterLayout(config.model);
    const auto size = static_cast<std::size_t>(layout.back().offset + layout.back().size);
    std::vector<float> state(3 * size);
    const std::span<float> all(state);
    const train::Shard whole{.from = 0,
                             .to = static_cast<std::int64_t>(size),
                             .parameters = all.subspan(0, size),
                             .firstMoment = all.subspan(size, size),
                             .secondMoment = all.subspan(2 * size)};
    if (auto loaded = train::loadShard(checkpoint, *manifest, layout, whole); !loaded) {
        throw std::runtime_error(loaded.error().text());
    }
    return state;
}

bool RankPlace::haveMpirun() {
    return !QStandardPaths::findExecutable("mpirun").isEmpty();
}

fs::path RankPlace::folder(const std::string& name) const {
    return m_dir.path().toStdString() + "/" + name;
}

fs::path RankPlace::checkpoint(const std::string& run, int step) const {
    return folder(run) / "checkpoints" / train::checkpointName(1, step);
}

QString RankPlace::write(const std::string& name, const std::string& text) const {
    std::ofstream(folder(name)) << text;
    return QString::fromStdString(folder(name));
}

void RankPlace::start(QProcess& job, int ranks, const QString& config, const std::string& run, const QStringList& more) const {
    const QString program = qEnvironmentVariable("TELEHELM_BIN") + "/telehelm-rank";
    const QStringList arguments =
        QStringList{"--config", config, "--offline", "--threads", "1", "--run-dir", QString::fromStdString((folder(run) / "attempt-1"))} + more;
    job.setProcessChannelMode(QProcess::MergedChannels);
    if (ranks > 1) {
        job.start("mpirun", QStringList{"-np", QString::number(ranks), "--oversubscribe", "--bind-to", "none", program} + arguments);
    } else {
        job.start(program, arguments);
    }
}

Ended RankPlace::rank(int ranks, const QString& config, const std::string& run, const QStringList& more) const {
    QProcess job;
    start(job, ranks, config, run, more);
    if (!job.waitForFinished(100'000)) {
        return {-2, "did not end"};
    }
    return {job.exitStatus() == QProcess::NormalExit ? job.exitCode() : -3, QString::fromUtf8(job.readAll())};
}

QByteArray RankPlace::waitForStep(QProcess& job, int step) {
    QByteArray output;
    const QByteArray mark = "step " + QByteArray::number(step) + "/";
    while (!output.contains(mark) && job.waitForReadyRead(60'000)) {
        output += job.readAll();
    }
    return output;
}

std::vector<pid_t> RankPlace::pids(const std::string& run) const {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        std::ifstream file(entry.path() / "cmdline");
        std::string line((std::istreambuf_iterator<char>(file)), {});
        const bool isRank = line.substr(0, line.find('\0')).ends_with("telehelm-rank");
        if (isRank && line.find((folder(run) / "attempt-1").string()) != std::string::npos) {
            found.push_back(std::stoi(entry.path().filename().string()));
        }
    }
    return found;
}

} // namespace telehelm::tests
