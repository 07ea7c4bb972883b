// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/state_paths.h"

#include <QCoreApplication>
#include <QDir>
#include <QFileInfo>
#include <QStandardPaths>

namespace telehelm::app {

QString defaultStateDir() {
    const auto xdg = qEnvironmentVariable("XDG_STATE_HOME");
    // The XDG specification: a relative path is to be ignored.
    return (QDir::isAbsolutePath(xdg) ? xdg : QDir::homePath() + QStringLiteral("/.local/state")) + QStringLiteral("/telehelm");
}

QString findProgram(const QString& name) {
    const QFileInfo beside(QDir(QCoreApplication::applicationDirPath()), name);
    return beside.isExecutable() ? beside.absoluteFilePath() : QStandardPaths::findExecutable(name);
}

QString findSharedFile(const QString& relative) {
    QDir dir(QCoreApplication::applicationDirPath());
    do {
        for (const auto& below : {relative, QStringLiteral("share/telehelm/") + relative})
            if (QFileInfo::exists(dir.filePath(below)))
                return dir.absoluteFilePath(below);
    } while (dir.cdUp());
    const QFileInfo here(QDir::current(), relative);
    return here.exists() ? here.absoluteFilePath() : QString();
}

} // namespace telehelm::app
