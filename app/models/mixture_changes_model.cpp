// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/mixture_changes_model.h"

#include <algorithm>
#include <cmath>

#include "models/config_diff.h"
#include "models/text_format.h"

namespace telehelm::app {

namespace {

const QString kNone(QChar(0x2013));

QString pp(double share) { return text::withSign(share * 100, 2); }

} // namespace

QString MixtureChange::id() const { return QStringLiteral("mix-%1").arg(step, 7, 10, QLatin1Char('0')); }

QString MixtureChange::words() const {
    if (before.empty()) {
        return MixtureChangesModel::tr("initial mixture");
    }
    std::vector<std::pair<QString, double>> moved;
    for (const auto& [name, share] : after) {
        const auto old = before.find(name);
        const double delta = share - (old == before.end() ? 0.0 : old->second);
        if (std::abs(delta) >= 0.00005) {
            moved.emplace_back(QString::fromStdString(name), delta);
        }
    }
    std::stable_sort(moved.begin(), moved.end(), [](const auto& a, const auto& b) { return std::abs(a.second) > std::abs(b.second); });
    QStringList shown;
    double others = 0;
    for (std::size_t i = 0; i < moved.size(); ++i) {
        if (i < 4 || moved.size() == 5) {
            shown << moved[i].first + QLatin1Char(' ') + pp(moved[i].second);
        } else {
            others += moved[i].second;
        }
    }
    if (moved.size() > 5) {
        shown << MixtureChangesModel::tr("others %1").arg(pp(others));
    }
    return shown.isEmpty() ? MixtureChangesModel::tr("nothing") : shown.join(QStringLiteral(", "));
}

std::vector<MixtureChange> mixtureChanges(const ipc::RunInfo& run, const std::vector<ipc::Command>& commands) {
    std::vector<MixtureChange> changes;
    if (!run.attempts.empty()) {
        MixtureChange first;
        first.wallUs = run.attempts.front().startedUs;
        first.after = mixtureOfConfig(QString::fromStdString(run.attempts.front().configToml));
        first.reason = MixtureChangesModel::tr("Run start");
        changes.push_back(std::move(first));
    }
    std::vector<const ipc::Command*> applied;
    for (const auto& command : commands) {
        const bool mixture = command.kind == ipc::CommandKind::SetMixture || (command.kind == ipc::CommandKind::Restart && command.restart && command.restart->mixture);
        if (command.key.run == run.run && command.state == ipc::CommandState::Applied && mixture) {
            applied.push_back(&command);
        }
    }
    std::stable_sort(applied.begin(), applied.end(), [](const auto* a, const auto* b) { return a->requestedUs < b->requestedUs; });
    for (const auto* command : applied) {
        MixtureChange change;
        const bool restart = command->kind == ipc::CommandKind::Restart;
        change.step = restart ? command->restart->checkpointStep + 1 : command->appliedStep >= 0 ? command->appliedStep : command->atStep;
        change.wallUs = command->endedUs != 0 ? command->endedUs : command->requestedUs;
        change.who = QString::fromStdString(command->author);
        change.reason = QString::fromStdString(command->reason);
        change.before = changes.empty() ? ipc::Mixture() : changes.back().after;
        change.after = restart ? *command->restart->mixture : command->mixture;
        changes.push_back(std::move(change));
    }
    std::reverse(changes.begin(), changes.end());
    return changes;
}

MixtureChangesModel::MixtureChangesModel(QObject* parent) : QAbstractTableModel(parent) {}

void MixtureChangesModel::setChanges(std::vector<MixtureChange> changes) {
    beginResetModel();
    m_changes = std::move(changes);
    endResetModel();
}

void MixtureChangesModel::setNorms(int row, double before, double after) {
    auto& change = m_changes[static_cast<std::size_t>(row)];
    change.normBefore = before;
    change.normAfter = after;
    emit dataChanged(index(row, GradNorm), index(row, GradNorm));
}

int MixtureChangesModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_changes.size()); }

int MixtureChangesModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int(ColumnCount); }

QVariant MixtureChangesModel::data(const QModelIndex& index, int role) const {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid)) {
        return {};
    }
    const MixtureChange& change = m_changes[static_cast<std::size_t>(index.row())];
    const bool norms = change.normBefore && change.normAfter;
    if (role == ShiftedRole) {
        return index.column() == GradNorm && norms && std::abs(*change.normAfter / *change.normBefore - 1) >= 0.1;
    }
    if (role != Qt::DisplayRole && !(role == Qt::ToolTipRole && index.column() >= What)) {
        return {};
    }
    switch (index.column()) {
    case Step: return text::count(change.step);
    case When: return text::utcShort(change.wallUs);
    case Who: return change.who.isEmpty() ? kNone : change.who;
    case Mixture: return change.id();
    case What: return change.words();
    case GradNorm:
        return norms ? QStringLiteral("%1 → %2 (%3)").arg(text::fixed(*change.normBefore, 3), text::fixed(*change.normAfter, 3), text::change(*change.normBefore, *change.normAfter))
                     : kNone;
    case Reason: return change.reason;
    default: return {};
    }
}

QVariant MixtureChangesModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal || section < 0 || section >= ColumnCount || (role != Qt::DisplayRole && role != Qt::TextAlignmentRole)) {
        return {};
    }
    if (role == Qt::TextAlignmentRole) {
        return QVariant(Qt::AlignVCenter | Qt::AlignLeft);
    }
    const QString names[ColumnCount] = {tr("Step"), tr("When"), tr("Who"), tr("Mixture"), tr("What changed, pp"), tr("Gradient norm after"), tr("Reason")};
    return names[section];
}

} // namespace telehelm::app
