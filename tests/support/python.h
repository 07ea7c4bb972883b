// SPDX-License-Identifier: Apache-2.0
// A Python that has what an optional test compares with.
#pragma once

#include <QDir>
#include <QProcess>
#include <QStringList>

namespace telehelm::tests {

/// The first of TELEHELM_PYTHON, python3 on the path, Debian's own (whose packages another python3 before it does not see) and the
/// one of `./dev bench peers` that can import the module; empty: none.
inline QString pythonWith(const QString& module) {
    const QString given = qEnvironmentVariable("TELEHELM_PYTHON");
    const QStringList candidates = given.isEmpty()
                                       ? QStringList{"python3", "/usr/bin/python3", QDir::homePath() + "/.cache/telehelm/bench-venv/bin/python3"}
                                       : QStringList{given};
    for (const QString& python : candidates) {
        QProcess trial;
        trial.start(python, {"-c", "import " + module});
        if (trial.waitForFinished(60'000) && trial.exitStatus() == QProcess::NormalExit && trial.exitCode() == 0)
            return python;
    }
    return {};
}

} // namespace telehelm::tests
