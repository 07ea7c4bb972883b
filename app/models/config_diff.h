// SPDX-License-Identifier: GPL-3.0-or-later
// What a restart or a new mixture will change in a run's TOML config, worked out here so that it can be shown before it is asked
// for. The daemon writes the real change and keeps its own diff with the command.
#pragma once

#include <optional>
#include <vector>

#include <QString>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

struct DiffLine {
    QChar sign = QLatin1Char(' '); // '+', '-' or ' '
    QString text;
    bool operator==(const DiffLine&) const = default;
};

/// A key's value in TOML text, as written (without its comment); empty when the key is not there.
[[nodiscard]] std::optional<QString> tomlValue(const QString& toml, const QString& table, const QString& key);
[[nodiscard]] std::optional<double> tomlNumber(const QString& toml, const QString& table, const QString& key);

/// The lines that a restart with these options changes, under their table headers: the daemon's rules for writing a new attempt's
/// config. `checkpoint`: its folder.
[[nodiscard]] std::vector<DiffLine> restartDiff(const QString& toml, const ipc::RestartOptions& options, const QString& checkpoint);
/// The learning-rate scale in force after a step of an attempt: the last one ordered until then, else the one that the attempt took
/// over from its checkpoint or has in its config.
[[nodiscard]] double lrScaleAt(const ipc::RunInfo& run, const std::vector<ipc::Command>& commands, std::uint32_t attempt, std::int64_t step);
/// [data.mixture] of a config, shares 0..1.
[[nodiscard]] ipc::Mixture mixtureOfConfig(const QString& toml);
/// The lines of [data.mixture] that differ.
[[nodiscard]] std::vector<DiffLine> mixtureDiff(const ipc::Mixture& before, const ipc::Mixture& after);
/// A command's diff text ("-x", "+y", headers) as lines.
[[nodiscard]] std::vector<DiffLine> parseDiff(const QString& text);
/// How many settings change: a pair of − and + counts once.
[[nodiscard]] int changedSettings(const std::vector<DiffLine>& lines);
[[nodiscard]] QString diffText(const std::vector<DiffLine>& lines);

} // namespace telehelm::app
