// SPDX-License-Identifier: Apache-2.0
// The programs as an operator meets them: run with arguments, read what they say, look for what they leave behind.
#pragma once

#include <QString>
#include <QStringList>
#include <QTemporaryDir>

namespace telehelm::tests {

struct Said {
    int code = -1; // −1: it did not end, or not by itself
    QString out, err;
    /// All that was said, with the exit code: for a failing test.
    [[nodiscard]] QString text() const { return QString("exit %1\n%2%3").arg(code).arg(out, err); }
};

/// A folder with a tiny corpus and everything that the programs write; XDG's folders point into it.
class Place {
public:
    Place();
    /// "NAME=value" in `environment` replaces what is inherited.
    [[nodiscard]] Said run(const QString& program, const QStringList& arguments, const QStringList& environment = {},
                           int timeoutMs = 60'000) const;
    /// telehelmctl for the daemon of this place.
    [[nodiscard]] Said ctl(const QStringList& arguments, const QStringList& environment = {}) const;
    /// Starts the daemon in the background, on free ports.
    [[nodiscard]] Said startDaemon(const QStringList& environment = {}) const;
    void stopDaemon() const; // with its jobs
    [[nodiscard]] QString path(const QString& name) const { return m_dir.filePath(name); }
    [[nodiscard]] QString state() const { return path("state"); }
    /// Writes a config of `ranks` ranks for a run of 32-wide one-layer models; `change` replaces a line's text by another.
    QString config(const QString& name, int ranks = 1, const QString& from = {}, const QString& to = {}) const;
    /// Processes whose command line names this folder.
    [[nodiscard]] QStringList strays() const;
    /// telehelmctl runs: state of a run's newest attempt; "" when unknown.
    [[nodiscard]] QString runState(const QString& run) const;
    [[nodiscard]] qint64 step(const QString& run) const;

private:
    QTemporaryDir m_dir;
};

/// A file system of its own of `size` (as "300k"); false where this user may not mount.
class SmallDisk {
public:
    SmallDisk(const QString& path, const QString& options);
    ~SmallDisk();
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    [[nodiscard]] bool isMounted() const { return m_isMounted; }
    [[nodiscard]] bool remount(const QString& options) const;

private:
    QString m_path;
    bool m_isMounted = false;
};

} // namespace telehelm::tests
