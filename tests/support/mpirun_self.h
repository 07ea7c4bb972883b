// SPDX-License-Identifier: Apache-2.0
// A test program that runs itself again as the ranks of an MPI job.
#pragma once

#include <QByteArray>
#include <QCoreApplication>
#include <QProcess>
#include <QStandardPaths>

namespace telehelm::tests {

inline bool hasMpirun() {
    return !QStandardPaths::findExecutable("mpirun").isEmpty();
}

struct MpiJob {
    bool ended = false; // within a minute
    int exitCode = -1;
    QByteArray output, errors;
};

/// This program under mpirun; its main() sees comm::launchedByMpi().
inline MpiJob mpirunSelf(int ranks) {
    QProcess job;
    job.start("mpirun",
              {"-np", QString::number(ranks), "--oversubscribe", "--bind-to", "none", QCoreApplication::applicationFilePath()});
    const bool ended = job.waitForFinished(60'000);
    return {ended, job.exitCode(), job.readAllStandardOutput(), job.readAllStandardError()};
}

} // namespace telehelm::tests
