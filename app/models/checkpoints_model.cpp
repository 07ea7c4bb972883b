// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/checkpoints_model.h"

#include <algorithm>

#include "models/text_format.h"

namespace telehelm::app {

CheckpointsModel::CheckpointsModel(QObject* parent) : QAbstractTableModel(parent) {}

void CheckpointsModel::setCheckpoints(std::vector<ipc::CheckpointInfo> checkpoints, std::optional<qint64> wantedStep) {
    beginResetModel();
    m_checkpoints = std::move(checkpoints);
    std::stable_sort(m_checkpoints.begin(), m_checkpoints.end(), [](const auto& a, const auto& b) {
        return a.key.attempt != b.key.attempt ? a.key.attempt > b.key.attempt : a.step > b.step;
    });
    m_severalAttempts = std::any_of(m_checkpoints.begin(), m_checkpoints.end(),
                                    [this](const auto& c) { return c.key.attempt != m_checkpoints.front().key.attempt; });
    m_suggested = -1;
    for (std::size_t i = 0; i < m_checkpoints.size() && m_suggested < 0; ++i) {
        const auto& checkpoint = m_checkpoints[i];
        if (checkpoint.verified && checkpoint.damage.empty() && (!wantedStep || checkpoint.step <= *wantedStep)) {
            m_suggested = static_cast<int>(i);
        }
    }
    m_chosen = m_suggested;
    endResetModel();
    emit chosenChanged();
}

const ipc::CheckpointInfo* CheckpointsModel::chosen() const {
    return m_chosen < 0 ? nullptr : &m_checkpoints[static_cast<std::size_t>(m_chosen)];
}

bool CheckpointsModel::choose(int row) {
    if (row < 0 || row >= rowCount() || !m_checkpoints[static_cast<std::size_t>(row)].damage.empty()) {
        return false;
    }
    if (row != m_chosen) {
        const int before = m_chosen;
        m_chosen = row;
        if (before >= 0) {
            emit dataChanged(index(before, 0), index(before, ColumnCount - 1));
        }
        emit dataChanged(index(row, 0), index(row, ColumnCount - 1));
        emit chosenChanged();
    }
    return true;
}

int CheckpointsModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_checkpoints.size()); }

int CheckpointsModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int(ColumnCount); }

QString CheckpointsModel::conditionText(int row) const {
    const auto& checkpoint = m_checkpoints[static_cast<std::size_t>(row)];
    QString text = !checkpoint.damage.empty() ? tr("damaged: %1").arg(QString::fromStdString(checkpoint.damage))
                   : checkpoint.verified      ? (row == m_suggested ? tr("verified, suggested") : tr("verified"))
                                              : tr("not verified yet");
    return m_severalAttempts ? tr("%1, attempt %2").arg(text).arg(checkpoint.key.attempt) : text;
}

QString CheckpointsModel::cell(int row, int column) const {
    const auto& checkpoint = m_checkpoints[static_cast<std::size_t>(row)];
    switch (column) {
    case Step: return text::count(checkpoint.step);
    case Saved: return text::utcShort(checkpoint.savedUs);
    case Loss: return text::fixed(checkpoint.trainLoss, 3);
    case GradNorm: return text::fixed(checkpoint.gradNorm, 3);
    case Condition: return conditionText(row);
    default: return {};
    }
}

QVariant CheckpointsModel::data(const QModelIndex& index, int role) const {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid)) {
        return {};
    }
    const auto& checkpoint = m_checkpoints[static_cast<std::size_t>(index.row())];
    const bool damaged = !checkpoint.damage.empty();
    switch (role) {
    case Qt::DisplayRole: return cell(index.row(), index.column());
    case Qt::CheckStateRole: return index.column() == Chosen ? QVariant(index.row() == m_chosen ? Qt::Checked : Qt::Unchecked) : QVariant();
    case Qt::TextAlignmentRole: {
        const bool right = index.column() == Loss || index.column() == GradNorm;
        return QVariant(Qt::AlignVCenter | (right ? Qt::AlignRight : Qt::AlignLeft));
    }
    case Qt::ToolTipRole: return index.column() == Condition ? QVariant(cell(index.row(), Condition)) : QVariant(QString::fromStdString(checkpoint.path));
    case Qt::AccessibleTextRole:
        return index.column() == Chosen
                   ? tr("Checkpoint of step %1, %2, %3")
                         .arg(cell(index.row(), Step), conditionText(index.row()), index.row() == m_chosen ? tr("chosen") : tr("not chosen"))
                   : cell(index.row(), index.column());
    case SeverityRole:
        return index.column() == Condition ? QVariant(int(damaged               ? ipc::Severity::Critical
                                                          : checkpoint.verified ? ipc::Severity::Benign
                                                                                : ipc::Severity::Info))
                                           : QVariant();
    default: return {};
    }
}

QVariant CheckpointsModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal || section < 0 || section >= ColumnCount) {
        return {};
    }
    if (role == Qt::TextAlignmentRole) {
        return QVariant(Qt::AlignVCenter | (section == Loss || section == GradNorm ? Qt::AlignRight : Qt::AlignLeft));
    }
    static const char* const kNames[ColumnCount] = {"", QT_TR_NOOP("Step"), QT_TR_NOOP("Saved"), QT_TR_NOOP("Loss"), QT_TR_NOOP("Grad norm"), QT_TR_NOOP("Condition")};
    return role == Qt::DisplayRole ? QVariant(section == Chosen ? QString() : tr(kNames[section])) : QVariant();
}

Qt::ItemFlags CheckpointsModel::flags(const QModelIndex& index) const {
    if (!index.isValid()) {
        return Qt::NoItemFlags;
    }
    const bool damaged = !m_checkpoints[static_cast<std::size_t>(index.row())].damage.empty();
    return Qt::ItemNeverHasChildren | Qt::ItemIsEnabled | (damaged ? Qt::NoItemFlags : Qt::ItemIsSelectable);
}

} // namespace telehelm::app
