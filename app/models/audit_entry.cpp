// SPDX-License-Identifier: GPL-3.0-or-later
// How commands and events read as rows of the audit log.
#include <algorithm>

#include <QCoreApplication>

#include "models/audit_model.h"
#include "models/text_format.h"

namespace telehelm::app {

namespace {

QString tr(const char* text) { return QCoreApplication::translate("AuditModel", text); }

QString actionOf(ipc::CommandKind kind) {
    switch (kind) {
    case ipc::CommandKind::Pause: return tr("Pause");
    case ipc::CommandKind::Resume: return tr("Resume");
    case ipc::CommandKind::Stop: return tr("Stop");
    case ipc::CommandKind::Checkpoint: return tr("Checkpoint");
    case ipc::CommandKind::SetMixture: return tr("Mixture");
    case ipc::CommandKind::SetLrScale: return tr("Learning rate");
    case ipc::CommandKind::Restart: return tr("Restart");
    }
    return {};
}

QString resultOf(const ipc::Command& command) {
    switch (command.state) {
    case ipc::CommandState::Requested: return tr("requested");
    case ipc::CommandState::Accepted: return command.kind == ipc::CommandKind::SetMixture ? tr("scheduled") : tr("accepted");
    case ipc::CommandState::Applied: return tr("applied");
    case ipc::CommandState::Rejected: return tr("refused");
    case ipc::CommandState::Failed: return tr("failed");
    }
    return {};
}

qint64 stepOf(const ipc::Command& command) {
    if (command.appliedStep >= 0) {
        return command.appliedStep;
    }
    return command.restart && command.kind == ipc::CommandKind::Restart ? command.restart->checkpointStep : command.atStep;
}

struct EventWords {
    QString action, result;
};

std::optional<EventWords> wordsOf(const ipc::Event& event) {
    switch (event.kind) {
    case ipc::EventKind::AttemptStarted: return EventWords{event.key.attempt > 1 ? tr("Restart") : tr("Start"), tr("attempt %1 started").arg(event.key.attempt)};
    case ipc::EventKind::AttemptEnded: {
        const auto reason = event.facts.find("reason");
        return EventWords{tr("End"), reason == event.facts.end() ? tr("attempt ended") : QString::fromStdString(reason->second)};
    }
    case ipc::EventKind::CheckpointSaved: return EventWords{tr("Checkpoint"), tr("saved")};
    case ipc::EventKind::CheckpointDamaged: return EventWords{tr("Checkpoint"), tr("damaged")};
    case ipc::EventKind::RankFailed: return EventWords{tr("Rank"), tr("failed")};
    case ipc::EventKind::HeartbeatLost: return EventWords{tr("Heartbeat"), tr("lost")};
    case ipc::EventKind::StepSkipped: return EventWords{tr("Step"), tr("skipped")};
    case ipc::EventKind::LinkLost: return EventWords{tr("Trainer link"), tr("lost")};
    case ipc::EventKind::LinkRestored: return EventWords{tr("Trainer link"), tr("restored")};
    case ipc::EventKind::WatchVerdict: return EventWords{tr("Alert"), tr("raised")};
    case ipc::EventKind::Note: return EventWords{tr("Note"), tr("added")};
    case ipc::EventKind::MixtureChanged: // the command's row says it
    case ipc::EventKind::CommandUpdated: return std::nullopt;
    }
    return std::nullopt;
}

} // namespace

AuditEntry auditEntry(const ipc::Command& command) {
    AuditEntry entry;
    entry.key = QStringLiteral("command/") + QString::fromStdString(command.id);
    entry.wallUs = command.requestedUs;
    entry.step = stepOf(command);
    entry.who = QString::fromStdString(command.author);
    entry.host = QString::fromStdString(command.host);
    entry.action = actionOf(command.kind);
    entry.result = resultOf(command);
    const bool bad = command.state == ipc::CommandState::Rejected || command.state == ipc::CommandState::Failed;
    const bool done = command.state == ipc::CommandState::Applied && command.kind != ipc::CommandKind::SetMixture;
    entry.severity = bad ? ipc::Severity::Critical : done ? ipc::Severity::Benign : ipc::Severity::Info;
    entry.category = command.kind == ipc::CommandKind::SetMixture ? AuditCategory::Mixture : AuditCategory::RunControl;
    entry.why = QString::fromStdString(bad || command.reason.empty() ? command.outcome : command.reason);
    entry.command = command;
    return entry;
}

std::optional<AuditEntry> auditEntry(const ipc::Event& event) {
    const auto words = wordsOf(event);
    if (!words) {
        return std::nullopt;
    }
    AuditEntry entry;
    entry.key = QStringLiteral("event/%1").arg(event.id);
    entry.wallUs = event.wallUs;
    entry.step = event.step;
    const auto ownStep = event.facts.find("step"); // a checkpoint's: the event may come a step later
    if (event.kind == ipc::EventKind::CheckpointSaved && ownStep != event.facts.end()) {
        entry.step = QString::fromStdString(ownStep->second).toLongLong();
    }
    const auto author = event.facts.find("author");
    entry.who = author == event.facts.end() ? QStringLiteral("telehelmd") : QString::fromStdString(author->second);
    entry.action = words->action;
    entry.result = words->result;
    entry.severity = event.severity;
    entry.why = QString::fromStdString(event.text);
    entry.event = event;
    return entry;
}

} // namespace telehelm::app
