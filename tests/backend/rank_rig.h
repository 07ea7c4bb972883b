// SPDX-License-Identifier: Apache-2.0
// telehelm-rank as a program, alone or under mpirun, in a folder of its own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <QProcess>
#include <QStringList>
#include <QTemporaryDir>

#include "config/run_config.h"

namespace telehelm::tests {

struct Ended {
    int exitCode = -1; // −2: did not end, −3: killed
    QString output;
};

class RankPlace {
public:
    [[nodiscard]] static bool haveMpirun();
    [[nodiscard]] std::filesystem::path folder(const std::string& name) const;
    /// Of the first attempt of a run.
    [[nodiscard]] std::filesystem::path checkpoint(const std::string& run, int step) const;
    /// Writes a file; returns its path.
    [[nodiscard]] QString write(const std::string& name, const std::string& text) const;

    /// Starts telehelm-rank on `ranks` ranks with the run folder `run`.
    void start(QProcess& job, int ranks, const QString& config, const std::string& run, const QStringList& more = {}) const;
    [[nodiscard]] Ended rank(int ranks, const QString& config, const std::string& run, const QStringList& more = {}) const;
    /// Waits until the job has printed that step; what it said until then.
    static QByteArray waitForStep(QProcess& job, int step);
    /// Process ids of the trainer's ranks: telehelm-rank processes with this run folder on their command line.
    [[nodiscard]] std::vector<pid_t> pids(const std::string& run) const;

private:
    QTemporaryDir m_dir;
};

/// All state of a sound checkpoint, however many ranks wrote it: parameters, first, second moments. Throws std::runtime_error.
[[nodiscard]] std::vector<float> stateOf(const std::filesystem::path& checkpoint, const config::RunConfig& config);

} // namespace telehelm::tests
