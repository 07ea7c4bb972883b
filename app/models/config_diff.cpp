// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/config_diff.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include <QStringList>

namespace telehelm::app {

namespace {

const QLatin1Char kKeep(' '), kAdd('+'), kDrop('-');

/// Up to the '#' that begins a comment, quotes respected.
QString withoutComment(const QString& line) {
    QChar quote;
    for (qsizetype i = 0; i < line.size(); ++i) {
        const QChar c = line[i];
        if (!quote.isNull()) {
            if (c == QLatin1Char('\\') && quote == QLatin1Char('"')) {
                ++i;
            } else if (c == quote) {
                quote = QChar();
            }
        } else if (c == QLatin1Char('"') || c == QLatin1Char('\'')) {
            quote = c;
        } else if (c == QLatin1Char('#')) {
            return line.left(i).trimmed();
        }
    }
    return line.trimmed();
}

QString unquoted(QString key) {
    key = key.trimmed();
    const bool quoted = key.size() >= 2 && (key.front() == QLatin1Char('"') || key.front() == QLatin1Char('\'')) && key.back() == key.front();
    return quoted ? key.mid(1, key.size() - 2) : key;
}

struct Change {
    const char* table;
    const char* key;
    QString after;
};

void append(std::vector<DiffLine>& lines, const QString& toml, const Change& change, QString& header) {
    const QString table = QLatin1String(change.table), key = QLatin1String(change.key);
    const auto before = tomlValue(toml, table, key);
    if (before == change.after) {
        return;
    }
    if (header != table) {
        header = table;
        lines.push_back({kKeep, QLatin1Char('[') + table + QLatin1Char(']')});
    }
    if (before) {
        lines.push_back({kDrop, key + QStringLiteral(" = ") + *before});
    }
    lines.push_back({kAdd, key + QStringLiteral(" = ") + change.after});
}

/// As the daemon writes it: the shortest text that reads back as the same number, always recognisable as a float.
QString number(double value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    const QString shown = QString::fromLatin1(digits.data(), end - digits.data());
    return shown.contains(QLatin1Char('.')) || shown.contains(QLatin1Char('e')) ? shown : shown + QStringLiteral(".0");
}

/// Which of the checkpoint's own values the overrides replace; the rest goes on as it was saved.
QString takes(const ipc::RestartOptions& options) {
    QStringList words;
    if (options.lrScale) {
        words << QStringLiteral("lr_scale");
    }
    if (options.dataSeed) {
        words << QStringLiteral("seed");
    }
    if (options.skipBatches > 0) {
        words << QStringLiteral("skip_batches");
    }
    if (options.mixture) {
        words << QStringLiteral("mixture");
    }
    return words.isEmpty() ? QStringLiteral("none") : words.join(QLatin1Char(' '));
}

QString quoted(const QString& text) { return QLatin1Char('"') + text + QLatin1Char('"'); }

QString percent(double share) { return QString::number(share * 100, 'f', 2); }

} // namespace

std::optional<QString> tomlValue(const QString& toml, const QString& table, const QString& key) {
    QString current;
    for (const QString& raw : toml.split(QLatin1Char('\n'))) {
        const QString line = withoutComment(raw);
        if (line.startsWith(QLatin1Char('[')) && line.endsWith(QLatin1Char(']'))) {
            current = line.mid(1, line.size() - 2).trimmed();
            continue;
        }
        const auto equals = line.indexOf(QLatin1Char('='));
        if (current == table && equals > 0 && unquoted(line.left(equals)) == key) {
            return line.mid(equals + 1).trimmed();
        }
    }
    return std::nullopt;
}

std::optional<double> tomlNumber(const QString& toml, const QString& table, const QString& key) {
    auto text = tomlValue(toml, table, key);
    if (!text) {
        return std::nullopt;
    }
    bool ok = false;
    const double value = text->remove(QLatin1Char('_')).toDouble(&ok);
    return ok ? std::optional<double>(value) : std::nullopt;
}

std::vector<DiffLine> restartDiff(const QString& toml, const ipc::RestartOptions& options, const QString& checkpoint) {
    std::vector<DiffLine> lines;
    QString header;
    if (options.lrScale) {
        append(lines, toml, {"optimizer", "lr_scale", number(*options.lrScale)}, header);
    }
    if (options.clipGrad) {
        append(lines, toml, {"optimizer", "clip_grad", number(*options.clipGrad)}, header);
    }
    if (options.dataSeed) {
        append(lines, toml, {"data", "seed", QString::number(*options.dataSeed)}, header);
    }
    if (options.skipBatches > 0) {
        append(lines, toml, {"data", "skip_batches", QString::number(options.skipBatches)}, header);
    }
    if (options.mixture) {
        const auto shares = mixtureDiff(mixtureOfConfig(toml), *options.mixture);
        lines.insert(lines.end(), shares.begin(), shares.end());
    }
    append(lines, toml, {"resume", "checkpoint", quoted(checkpoint)}, header);
    append(lines, toml, {"resume", "take", quoted(takes(options))}, header);
    return lines;
}

double lrScaleAt(const ipc::RunInfo& run, const std::vector<ipc::Command>& commands, std::uint32_t attempt, std::int64_t step) {
    for (std::size_t depth = 0; depth <= run.attempts.size(); ++depth) {
        const ipc::Command* last = nullptr;
        for (const auto& command : commands) {
            const bool counts = command.kind == ipc::CommandKind::SetLrScale && command.state == ipc::CommandState::Applied && command.key.run == run.run &&
                                command.key.attempt == attempt && command.appliedStep <= step;
            if (counts && (last == nullptr || command.appliedStep > last->appliedStep || (command.appliedStep == last->appliedStep && command.endedUs > last->endedUs))) {
                last = &command;
            }
        }
        if (last != nullptr) {
            return last->lrScale;
        }
        const auto info = std::find_if(run.attempts.begin(), run.attempts.end(), [&](const ipc::AttemptInfo& a) { return a.key.attempt == attempt; });
        const QString toml = info != run.attempts.end() ? QString::fromStdString(info->configToml) : QString();
        const QString take = tomlValue(toml, QStringLiteral("resume"), QStringLiteral("take")).value_or(QString());
        const bool inherits = info != run.attempts.end() && info->parent != 0 && !take.isEmpty() && !take.contains(QLatin1String("lr_scale"));
        if (!inherits) {
            return tomlNumber(toml, QStringLiteral("optimizer"), QStringLiteral("lr_scale")).value_or(1.0);
        }
        attempt = info->parent;
        step = info->forkStep;
    }
    return 1.0; // attempts that are each other's parents: nothing to go by
}

ipc::Mixture mixtureOfConfig(const QString& toml) {
    ipc::Mixture shares;
    QString table;
    for (const QString& raw : toml.split(QLatin1Char('\n'))) {
        const QString line = withoutComment(raw);
        if (line.startsWith(QLatin1Char('['))) {
            table = line.mid(1, line.size() - 2).trimmed();
        } else if (table == QLatin1String("data.mixture") && line.contains(QLatin1Char('='))) {
            const auto equals = line.indexOf(QLatin1Char('='));
            shares[unquoted(line.left(equals)).toStdString()] = line.mid(equals + 1).trimmed().toDouble() / 100;
        }
    }
    return shares;
}

std::vector<DiffLine> mixtureDiff(const ipc::Mixture& before, const ipc::Mixture& after) {
    std::set<std::string> names;
    for (const auto& [name, share] : before) {
        names.insert(name);
    }
    for (const auto& [name, share] : after) {
        names.insert(name);
    }
    std::vector<DiffLine> lines;
    for (const auto& name : names) {
        const auto old = before.find(name), now = after.find(name);
        const QString from = old == before.end() ? QString() : percent(old->second);
        const QString to = now == after.end() ? QString() : percent(now->second);
        if (from == to) {
            continue;
        }
        if (lines.empty()) {
            lines.push_back({kKeep, QStringLiteral("[data.mixture]")});
        }
        const QString key = QString::fromStdString(name) + QStringLiteral(" = ");
        if (!from.isEmpty()) {
            lines.push_back({kDrop, key + from});
        }
        if (!to.isEmpty()) {
            lines.push_back({kAdd, key + to});
        }
    }
    return lines;
}

std::vector<DiffLine> parseDiff(const QString& text) {
    std::vector<DiffLine> lines;
    for (const QString& raw : text.split(QLatin1Char('\n'), Qt::SkipEmptyParts)) {
        const bool signedLine = raw.startsWith(kAdd) || raw.startsWith(kDrop);
        const QString words = signedLine ? raw.mid(1).trimmed() : raw.trimmed();
        const bool header = words.startsWith(QLatin1Char('[')); // a new table: its keys are the change
        lines.push_back({signedLine && !header ? raw[0] : QChar(kKeep), words});
    }
    return lines;
}

int changedSettings(const std::vector<DiffLine>& lines) {
    std::set<QString> keys;
    QString table;
    for (const auto& line : lines) {
        if (line.sign == kKeep) {
            table = line.text;
        } else {
            keys.insert(table + line.text.section(QLatin1Char('='), 0, 0).trimmed());
        }
    }
    return static_cast<int>(keys.size());
}

QString diffText(const std::vector<DiffLine>& lines) {
    QStringList shown;
    for (const auto& line : lines) {
        shown << (line.sign == kKeep ? line.text : QString(line.sign) + QStringLiteral("   ") + line.text);
    }
    return shown.join(QLatin1Char('\n'));
}

} // namespace telehelm::app
