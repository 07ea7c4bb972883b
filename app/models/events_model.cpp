// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/events_model.h"

#include <algorithm>

#include <QDateTime>
#include <QLocale>

#include "models/text_format.h"

namespace telehelm::app {

QString kindText(ipc::EventKind kind) {
    switch (kind) {
    case ipc::EventKind::AttemptStarted: return EventsModel::tr("Started");
    case ipc::EventKind::AttemptEnded: return EventsModel::tr("Ended");
    case ipc::EventKind::CheckpointSaved: return EventsModel::tr("Checkpoint");
    case ipc::EventKind::CheckpointDamaged: return EventsModel::tr("Damaged");
    case ipc::EventKind::MixtureChanged: return EventsModel::tr("Mixture");
    case ipc::EventKind::CommandUpdated: return EventsModel::tr("Command");
    case ipc::EventKind::RankFailed: return EventsModel::tr("Rank failed");
    case ipc::EventKind::HeartbeatLost: return EventsModel::tr("No heartbeat");
    case ipc::EventKind::StepSkipped: return EventsModel::tr("Step skipped");
    case ipc::EventKind::LinkLost: return EventsModel::tr("Link lost");
    case ipc::EventKind::LinkRestored: return EventsModel::tr("Link back");
    case ipc::EventKind::WatchVerdict: return EventsModel::tr("Verdict");
    case ipc::EventKind::Note: return EventsModel::tr("Note");
    }
    return EventsModel::tr("Event");
}

QString severityText(ipc::Severity severity) {
    switch (severity) {
    case ipc::Severity::Info: return EventsModel::tr("Note");
    case ipc::Severity::Benign: return EventsModel::tr("Benign");
    case ipc::Severity::Warning: return EventsModel::tr("Warning");
    case ipc::Severity::Critical: return EventsModel::tr("Critical");
    }
    return {};
}

EventsModel::EventsModel(QObject* parent) : QAbstractTableModel(parent) {}

void EventsModel::setEvents(const std::vector<ipc::Event>& oldestFirst) {
    beginResetModel();
    m_events.assign(oldestFirst.rbegin(), oldestFirst.rend());
    endResetModel();
}

int EventsModel::rowOf(qint64 id) const {
    const auto it = std::find_if(m_events.begin(), m_events.end(), [id](const auto& e) { return e.id == id; });
    return it == m_events.end() ? -1 : static_cast<int>(it - m_events.begin());
}

void EventsModel::add(const ipc::Event& event) {
    if (const int known = rowOf(event.id); event.id != 0 && known >= 0) {
        m_events[static_cast<std::size_t>(known)] = event;
        emit dataChanged(index(known, 0), index(known, ColumnCount - 1));
        return;
    }
    const auto at = std::find_if(m_events.begin(), m_events.end(), [&](const auto& e) { return e.wallUs <= event.wallUs; });
    const auto row = static_cast<int>(at - m_events.begin());
    beginInsertRows({}, row, row);
    m_events.insert(at, event);
    endInsertRows();
}

int EventsModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_events.size()); }
int EventsModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QString EventsModel::cell(const ipc::Event& event, int column) const {
    switch (column) {
    case Raised: {
        const auto when = QDateTime::fromMSecsSinceEpoch(event.wallUs / 1000, Qt::UTC);
        const bool today = when.date() == QDateTime::currentDateTimeUtc().date();
        return today ? when.toString(QStringLiteral("HH:mm:ss")) : text::utcShort(event.wallUs);
    }
    case Step: return event.step < 0 ? QString() : text::count(event.step);
    case Kind: return kindText(event.kind);
    case Text: return QString::fromStdString(event.text);
    default: return {};
    }
}

QVariant EventsModel::data(const QModelIndex& index, int role) const {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid | CheckIndexOption::ParentIsInvalid))
        return {};
    const auto& event = m_events[static_cast<std::size_t>(index.row())];
    switch (role) {
    case Qt::DisplayRole: return cell(event, index.column());
    case Qt::ToolTipRole: return index.column() == Text ? QString::fromStdString(event.text) : severityText(event.severity);
    case Qt::AccessibleTextRole: return index.column() == Severity ? severityText(event.severity) : cell(event, index.column());
    case SeverityRole: return static_cast<int>(event.severity);
    case StepRole: return static_cast<qlonglong>(event.step);
    case IdRole: return static_cast<qlonglong>(event.id);
    case RunRole: return QString::fromStdString(event.key.run);
    default: return {};
    }
}

QVariant EventsModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal || role != Qt::DisplayRole)
        return {};
    switch (section) {
    case Raised: return tr("Raised");
    case Step: return tr("Step");
    case Kind: return tr("Kind");
    case Text: return tr("What happened");
    default: return {};
    }
}

void EventsFilter::setRun(const QString& run) {
    m_run = run;
    invalidateFilter();
}

void EventsFilter::setLeast(ipc::Severity least) {
    m_least = least;
    invalidateFilter();
}

bool EventsFilter::filterAcceptsRow(int row, const QModelIndex& parent) const {
    const auto index = sourceModel()->index(row, 0, parent);
    if (!m_run.isEmpty() && index.data(EventsModel::RunRole).toString() != m_run)
        return false;
    return index.data(EventsModel::SeverityRole).toInt() >= static_cast<int>(m_least);
}

} // namespace telehelm::app
