// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/series_model.h"

#include <algorithm>

namespace telehelm::app {
namespace {

/// The order inside a group: the known ones as the design lists them, others by name behind.
int orderOf(const QString& series) {
    static const QStringList order{
        QStringLiteral("train/loss"), QStringLiteral("train/grad_norm"), QStringLiteral("optim/lr"), QStringLiteral("optim/matrix_lr"),
        QStringLiteral("perf/tokens_per_s"), QStringLiteral("valid/loss"), QStringLiteral("bpb"), QStringLiteral("perf/mfu"),
        QStringLiteral("perf/step_ms")};
    const auto at = order.indexOf(series);
    return at < 0 ? 1000 : static_cast<int>(at);
}

} // namespace

SeriesModel::SeriesModel(QObject* parent) : QAbstractItemModel(parent) {}

void SeriesModel::setRun(const QString& run, int slot, const std::vector<ipc::DomainInfo>& domains) {
    std::map<QString, QString> languages;
    for (const auto& domain : domains)
        languages.emplace(QString::fromStdString(domain.name), QString::fromStdString(domain.languages));
    if (run == m_run && languages == m_languages && slot == m_slot)
        return;
    beginResetModel();
    m_languages = std::move(languages);
    m_slot = slot;
    std::vector<Row> kept; // a domain's language may have moved its series to another group
    if (run == m_run)
        for (const auto& group : m_groups)
            kept.insert(kept.end(), group->rows.begin(), group->rows.end());
    m_run = run;
    m_groups.clear();
    m_atCursor.clear();
    endResetModel();
    for (const auto& row : kept)
        put(row.series, row.latest, row.step);
}

SeriesModel::GroupId SeriesModel::groupOf(const QString& series) const {
    if (series.startsWith(QLatin1String("train/")) || series.startsWith(QLatin1String("optim/")) || series == QLatin1String("perf/tokens_per_s"))
        return GroupId::Training;
    if (series.startsWith(QLatin1String("bpb/"))) {
        const auto it = m_languages.find(series.mid(4));
        const bool chineseOnly = it != m_languages.end() && it->second.contains(QLatin1String("zh")) && !it->second.contains(QLatin1String("en"));
        return chineseOnly ? GroupId::BpbChinese : GroupId::BpbEnglish;
    }
    if (series.startsWith(QLatin1String("valid/loss/")))
        return GroupId::ValidationLoss;
    if (series.startsWith(QLatin1String("valid/")) || series == QLatin1String("bpb"))
        return GroupId::Validation;
    if (series.startsWith(QLatin1String("rank/")))
        return GroupId::Ranks;
    return series.startsWith(QLatin1String("mixture/")) ? GroupId::Mixture : GroupId::System;
}

QString SeriesModel::groupTitle(const Group& group) const {
    const auto domains = [n = group.rows.size()](const QString& what) {
        return n == 1 ? tr("%1, 1 domain").arg(what) : tr("%1, %2 domains").arg(what).arg(n);
    };
    switch (group.id) {
    case GroupId::Training: return tr("Training");
    case GroupId::Validation: return tr("Validation");
    case GroupId::BpbEnglish: return domains(tr("BPB"));
    case GroupId::BpbChinese: return domains(tr("Chinese BPB"));
    case GroupId::ValidationLoss: return domains(tr("Loss"));
    case GroupId::Mixture: return tr("Mixture");
    case GroupId::System: return tr("System");
    case GroupId::Ranks: return tr("Ranks");
    }
    return {};
}

SeriesModel::Row* SeriesModel::find(const QString& series, int* groupRow, int* row) {
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        auto& rows = m_groups[g]->rows;
        const auto it = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.series == series; });
        if (it == rows.end())
            continue;
        *groupRow = static_cast<int>(g);
        *row = static_cast<int>(it - rows.begin());
        return &*it;
    }
    return nullptr;
}

void SeriesModel::put(const QString& series, double latest, std::int64_t step) {
    int groupRow = 0, row = 0;
    if (auto* known = find(series, &groupRow, &row)) {
        if (step < known->step)
            return;
        known->latest = latest;
        known->step = step;
        const auto cell = indexOf(series).siblingAtColumn(Latest);
        emit dataChanged(cell, cell);
        return;
    }
    const GroupId id = groupOf(series);
    auto group = std::find_if(m_groups.begin(), m_groups.end(), [id](const auto& g) { return g->id >= id; });
    groupRow = static_cast<int>(group - m_groups.begin());
    if (group == m_groups.end() || (*group)->id != id) {
        beginInsertRows({}, groupRow, groupRow);
        group = m_groups.insert(group, std::make_unique<Group>(Group{id, {}}));
        endInsertRows();
    }
    auto& rows = (*group)->rows;
    const auto before = [](const Row& r, const QString& name) {
        return std::pair(orderOf(r.series), r.series) < std::pair(orderOf(name), name);
    };
    const auto at = std::lower_bound(rows.begin(), rows.end(), series, before);
    row = static_cast<int>(at - rows.begin());
    const auto parent = index(groupRow, 0);
    beginInsertRows(parent, row, row);
    rows.insert(at, Row{series, seriesLabel(series), latest, step});
    endInsertRows();
    emit dataChanged(parent, parent); // the title counts its rows
}

void SeriesModel::setSeries(const std::vector<ipc::SeriesInfo>& series) {
    for (const auto& info : series)
        put(QString::fromStdString(info.name), info.latest, info.lastStep);
}

void SeriesModel::takeNews(const ipc::TelemetryBatch& batch) {
    if (QString::fromStdString(batch.key.run) != m_run)
        return;
    for (const auto& block : batch.series)
        if (!block.points.empty())
            put(QString::fromStdString(block.name), block.points.back().value, block.points.back().step);
}

void SeriesModel::setAtCursor(const QHash<QString, double>& values) {
    m_atCursor = values;
    for (std::size_t g = 0; g < m_groups.size(); ++g) {
        const auto group = index(static_cast<int>(g), 0);
        if (const int rows = rowCount(group); rows > 0)
            emit dataChanged(index(0, AtCursor, group), index(rows - 1, AtCursor, group));
    }
}

void SeriesModel::setHidden(const QString& series, bool hidden) {
    if (hidden == m_hidden.contains(series))
        return;
    if (hidden)
        m_hidden.insert(series, true);
    else
        m_hidden.remove(series);
    if (const auto cell = indexOf(series); cell.isValid())
        emit dataChanged(cell, cell.siblingAtColumn(Latest));
    emit hiddenChanged(series, hidden);
}

QModelIndex SeriesModel::indexOf(const QString& series) const {
    int groupRow = 0, row = 0;
    if (const_cast<SeriesModel*>(this)->find(series, &groupRow, &row) == nullptr)
        return {};
    return index(row, 0, index(groupRow, 0));
}

QStringList SeriesModel::seriesNames() const {
    QStringList names;
    for (const auto& group : m_groups)
        for (const auto& row : group->rows)
            names << row.series;
    return names;
}

// A group's index has no internal pointer; a series' index points to its group.
QModelIndex SeriesModel::index(int row, int column, const QModelIndex& parent) const {
    if (row < 0 || column < 0 || column >= ColumnCount || row >= rowCount(parent))
        return {};
    if (!parent.isValid())
        return createIndex(row, column);
    return createIndex(row, column, m_groups[static_cast<std::size_t>(parent.row())].get());
}

QModelIndex SeriesModel::parent(const QModelIndex& index) const {
    const auto* group = static_cast<const Group*>(index.constInternalPointer());
    if (!index.isValid() || group == nullptr)
        return {};
    const auto it = std::find_if(m_groups.begin(), m_groups.end(), [group](const auto& g) { return g.get() == group; });
    return it == m_groups.end() ? QModelIndex() : createIndex(static_cast<int>(it - m_groups.begin()), 0);
}

int SeriesModel::rowCount(const QModelIndex& parent) const {
    if (!parent.isValid())
        return static_cast<int>(m_groups.size());
    if (parent.internalPointer() != nullptr || parent.column() != 0)
        return 0;
    return static_cast<int>(m_groups[static_cast<std::size_t>(parent.row())]->rows.size());
}

int SeriesModel::columnCount(const QModelIndex&) const { return ColumnCount; }

QVariant SeriesModel::groupData(const Group& group, int column, int role) const {
    if (role == GroupRole)
        return true;
    if (column == Name && (role == Qt::DisplayRole || role == Qt::AccessibleTextRole))
        return groupTitle(group);
    return {};
}

QVariant SeriesModel::rowData(const Row& row, int column, int role) const {
    switch (role) {
    case Qt::DisplayRole:
        if (column == Name)
            return row.label;
        if (column == Latest)
            return seriesValue(row.series, row.latest);
        return m_atCursor.contains(row.series) ? seriesValue(row.series, m_atCursor.value(row.series)) : QStringLiteral("–");
    case Qt::ToolTipRole: return row.series;
    case Qt::TextAlignmentRole: return QVariant((column == Name ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
    case SeriesRole: return row.series;
    case HiddenRole: return m_hidden.contains(row.series);
    case ValidationRole: return row.series.startsWith(QLatin1String("valid/")) || row.series.startsWith(QLatin1String("bpb"));
    case SlotRole: return m_slot;
    case GroupRole: return false;
    default: return {};
    }
}

QVariant SeriesModel::data(const QModelIndex& index, int role) const {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const auto* group = static_cast<const Group*>(index.constInternalPointer());
    if (group == nullptr)
        return groupData(*m_groups[static_cast<std::size_t>(index.row())], index.column(), role);
    return rowData(group->rows[static_cast<std::size_t>(index.row())], index.column(), role);
}

QVariant SeriesModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant((section == Name ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
    if (role != Qt::DisplayRole)
        return {};
    return section == Name ? tr("Name") : section == AtCursor ? tr("at cursor") : tr("latest");
}

} // namespace telehelm::app
