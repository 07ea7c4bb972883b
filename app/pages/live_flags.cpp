// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/live_flags.h"

#include <optional>

#include <QCoreApplication>

#include "plots/value_text.h"

namespace telehelm::app {

namespace {

struct Sign {
    QChar letter; // null: a square
    bool severe;  // coloured by severity, not by kind
};

/// L loss, G gradient norm, T throughput, S spike: by what the verdict's sentence is about.
QChar verdictLetter(const std::string& text) {
    const QString sentence = QString::fromStdString(text).toLower();
    if (sentence.contains(QLatin1String("spike")))
        return QLatin1Char('S');
    if (sentence.startsWith(QLatin1String("gradient norm")))
        return QLatin1Char('G');
    return sentence.startsWith(QLatin1String("loss")) ? QLatin1Char('L') : QLatin1Char('T');
}

std::optional<Sign> signOf(const ipc::Event& event) {
    using ipc::EventKind;
    switch (event.kind) {
    case EventKind::CheckpointSaved:
        return Sign{QChar(), false};
    case EventKind::MixtureChanged:
        return Sign{QLatin1Char('M'), false};
    case EventKind::AttemptStarted:
        return event.key.attempt > 1 ? std::optional(Sign{QLatin1Char('R'), false}) : std::nullopt;
    case EventKind::RankFailed:
    case EventKind::HeartbeatLost:
    case EventKind::CheckpointDamaged:
        return Sign{QChar(0x00D7), true};
    case EventKind::StepSkipped:
        return Sign{QLatin1Char('L'), true};
    case EventKind::WatchVerdict:
        return Sign{verdictLetter(event.text), true};
    case EventKind::Note:
        return Sign{QLatin1Char('N'), false};
    default:
        return std::nullopt; // the audit log tells of commands, the status bar of links
    }
}

QColor colourOf(const ipc::Event& event, const Sign& sign, const Theme& theme) {
    if (!sign.severe)
        return event.kind == ipc::EventKind::MixtureChanged ? theme.info : theme.tx2;
    switch (event.severity) {
    case ipc::Severity::Critical:
        return theme.crit;
    case ipc::Severity::Warning:
        return theme.warn;
    case ipc::Severity::Benign:
        return theme.ok;
    case ipc::Severity::Info:
        return theme.info;
    }
    return theme.tx2;
}

std::optional<double> placeOf(const ipc::Event& event, const ipc::RunInfo& run, plots::XKind kind) {
    if (kind == plots::XKind::WallTime)
        return event.wallUs > 0 ? std::optional(static_cast<double>(event.wallUs)) : std::nullopt;
    if (event.step < 0)
        return std::nullopt;
    if (kind == plots::XKind::Step)
        return static_cast<double>(event.step);
    return static_cast<double>(event.tokens >= 0 ? event.tokens : event.step * run.tokensPerStep);
}

} // namespace

std::vector<plots::Flag> flagsOf(const std::vector<ipc::Event>& events, const ipc::RunInfo& run, plots::XKind kind,
                                 const Theme& theme) {
    std::vector<plots::Flag> flags;
    for (const ipc::Event& event : events) {
        const auto sign = event.key.run == run.run ? signOf(event) : std::nullopt;
        const auto x = sign ? placeOf(event, run, kind) : std::nullopt;
        if (!x)
            continue;
        QString text = QString::fromStdString(event.text);
        if (event.step >= 0)
            text = QCoreApplication::translate("live", "Step %1: %2").arg(plots::groupedText(event.step), text);
        flags.push_back({event.id, *x, sign->letter, colourOf(event, *sign, theme),
                         sign->severe && event.severity == ipc::Severity::Critical, text});
    }
    return flags;
}

} // namespace telehelm::app
