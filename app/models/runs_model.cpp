// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/runs_model.h"

#include <algorithm>

namespace telehelm::app {

QString stateText(ipc::AttemptState state) {
    switch (state) {
    case ipc::AttemptState::Starting: return RunsModel::tr("starting");
    case ipc::AttemptState::Running: return RunsModel::tr("running");
    case ipc::AttemptState::Pausing: return RunsModel::tr("pausing");
    case ipc::AttemptState::Paused: return RunsModel::tr("paused");
    case ipc::AttemptState::Stopping: return RunsModel::tr("stopping");
    case ipc::AttemptState::Finished: return RunsModel::tr("finished");
    case ipc::AttemptState::Stopped: return RunsModel::tr("stopped");
    case ipc::AttemptState::Failed: return RunsModel::tr("failed");
    case ipc::AttemptState::Lost: return RunsModel::tr("lost");
    case ipc::AttemptState::Superseded: return RunsModel::tr("superseded");
    }
    return RunsModel::tr("unknown");
}

RunsModel::RunsModel(RunSlots& slots_, QObject* parent) : QAbstractTableModel(parent), m_slots(slots_) {
    connect(&m_slots, &RunSlots::hiddenChanged, this, &RunsModel::onHiddenChanged);
}

RunsModel::Row RunsModel::rowFor(const ipc::RunInfo& run) const {
    Row row;
    row.run = QString::fromStdString(run.run);
    row.slot = m_slots.slotOf(row.run);
    row.tip = QString::fromStdString(run.description);
    if (const auto* attempt = run.newest()) {
        row.hasAttempt = true;
        row.state = attempt->state;
        if (!attempt->stateText.empty())
            row.tip = QString::fromStdString(attempt->stateText);
    }
    return row;
}

void RunsModel::setRuns(const std::vector<ipc::RunInfo>& runs) {
    QStringList names;
    for (const auto& run : runs)
        names << QString::fromStdString(run.run);
    beginResetModel();
    m_slots.setRuns(names);
    m_rows.clear();
    for (const auto& run : runs)
        m_rows.push_back(rowFor(run));
    endResetModel();
}

void RunsModel::updateRun(const ipc::RunInfo& run) {
    const int row = rowOf(QString::fromStdString(run.run));
    if (row < 0)
        return;
    auto next = rowFor(run);
    if (next == m_rows[static_cast<std::size_t>(row)])
        return;
    m_rows[static_cast<std::size_t>(row)] = std::move(next);
    emit dataChanged(index(row, 0), index(row, ColumnCount - 1));
}

void RunsModel::setStale(bool stale) {
    if (std::exchange(m_stale, stale) != stale && !m_rows.empty())
        emit dataChanged(index(0, State), index(rowCount() - 1, State));
}

void RunsModel::onHiddenChanged(const QString& run) {
    if (const int row = rowOf(run); row >= 0)
        emit dataChanged(index(row, 0), index(row, ColumnCount - 1));
}

int RunsModel::rowOf(const QString& run) const {
    const auto it = std::find_if(m_rows.begin(), m_rows.end(), [&](const Row& row) { return row.run == run; });
    return it == m_rows.end() ? -1 : static_cast<int>(it - m_rows.begin());
}

int RunsModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_rows.size()); }
int RunsModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : ColumnCount; }

QString RunsModel::stateWord(const Row& row) const {
    if (m_slots.isHidden(row.run))
        return tr("hidden");
    if (!row.hasAttempt)
        return tr("new");
    if (row.state == ipc::AttemptState::Running)
        return m_stale ? tr("stale") : tr("live");
    return stateText(row.state);
}

QVariant RunsModel::data(const QModelIndex& index, int role) const {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid | CheckIndexOption::ParentIsInvalid))
        return {};
    const Row& row = m_rows[static_cast<std::size_t>(index.row())];
    switch (role) {
    case Qt::DisplayRole: return index.column() == Name ? row.run : stateWord(row);
    case Qt::ToolTipRole: return row.tip.isEmpty() ? row.run : row.tip;
    case Qt::AccessibleTextRole: return index.column() == Name ? tr("Run %1, %2").arg(row.run, stateWord(row)) : stateWord(row);
    case Qt::TextAlignmentRole: return QVariant(index.column() == State ? Qt::AlignRight | Qt::AlignVCenter : Qt::AlignLeft | Qt::AlignVCenter);
    case RunRole: return row.run;
    case SlotRole: return row.slot;
    case HiddenRole: return m_slots.isHidden(row.run);
    case StateRole: return static_cast<int>(row.state);
    default: return {};
    }
}

QVariant RunsModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal || role != Qt::DisplayRole)
        return {};
    return section == Name ? tr("Run") : tr("State");
}

} // namespace telehelm::app
