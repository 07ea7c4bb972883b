// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/audit_model.h"

#include <algorithm>

#include "models/text_format.h"

namespace telehelm::app {

namespace {

bool newerFirst(const AuditEntry& a, const AuditEntry& b) { return a.wallUs != b.wallUs ? a.wallUs > b.wallUs : a.key > b.key; }

QString csvField(QString text) {
    if (text.contains(QLatin1Char(',')) || text.contains(QLatin1Char('"')) || text.contains(QLatin1Char('\n'))) {
        text.replace(QLatin1Char('"'), QStringLiteral("\"\""));
        return QLatin1Char('"') + text + QLatin1Char('"');
    }
    return text;
}

} // namespace

AuditModel::AuditModel(QObject* parent) : QAbstractTableModel(parent) {}

void AuditModel::setEntries(std::vector<AuditEntry> entries) {
    beginResetModel();
    m_entries = std::move(entries);
    std::sort(m_entries.begin(), m_entries.end(), newerFirst);
    endResetModel();
}

void AuditModel::upsert(AuditEntry entry) {
    const auto same = std::find_if(m_entries.begin(), m_entries.end(), [&](const AuditEntry& e) { return e.key == entry.key; });
    if (same != m_entries.end()) {
        const int row = static_cast<int>(same - m_entries.begin());
        entry.wallUs = same->wallUs; // the order stays
        *same = std::move(entry);
        emit dataChanged(index(row, 0), index(row, ColumnCount - 1));
        return;
    }
    const auto place = std::lower_bound(m_entries.begin(), m_entries.end(), entry, newerFirst);
    const int row = static_cast<int>(place - m_entries.begin());
    beginInsertRows({}, row, row);
    m_entries.insert(place, std::move(entry));
    endInsertRows();
}

QStringList AuditModel::authors() const {
    QStringList names;
    for (const auto& entry : m_entries) {
        if (!names.contains(entry.who)) {
            names << entry.who;
        }
    }
    names.sort();
    return names;
}

int AuditModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_entries.size()); }

int AuditModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int(ColumnCount); }

QString AuditModel::cell(const AuditEntry& entry, int column) const {
    switch (column) {
    case When: return text::utcShort(entry.wallUs);
    case Step: return entry.step >= 0 ? text::count(entry.step) : QString(QChar(0x2013));
    case Who: return entry.who;
    case Action: return entry.action;
    case Result: return entry.result;
    case Why: return entry.why;
    default: return {};
    }
}

QVariant AuditModel::data(const QModelIndex& index, int role) const {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid)) {
        return {};
    }
    const AuditEntry& entry = m_entries[static_cast<std::size_t>(index.row())];
    switch (role) {
    case Qt::DisplayRole: return cell(entry, index.column());
    case Qt::TextAlignmentRole: return QVariant(Qt::AlignVCenter | (index.column() == Step ? Qt::AlignRight : Qt::AlignLeft));
    case Qt::ToolTipRole: return index.column() == Why && !entry.why.isEmpty() ? QVariant(entry.why) : QVariant();
    case SeverityRole: return index.column() == Result ? QVariant(int(entry.severity)) : QVariant();
    case CategoryRole: return int(entry.category);
    case AutomaticRole: return entry.who == QLatin1String("telehelmd");
    default: return {};
    }
}

QVariant AuditModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal || section < 0 || section >= ColumnCount) {
        return {};
    }
    if (role == Qt::TextAlignmentRole) {
        return QVariant(Qt::AlignVCenter | (section == Step ? Qt::AlignRight : Qt::AlignLeft));
    }
    const QString names[ColumnCount] = {tr("When"), tr("Step"), tr("Who"), tr("Action"), tr("Result"), tr("Why")};
    return role == Qt::DisplayRole ? QVariant(names[section]) : QVariant();
}

void AuditFilter::setCategory(AuditCategory category) {
    m_category = category;
    invalidateFilter();
}

void AuditFilter::setAuthor(const QString& author) {
    m_author = author;
    invalidateFilter();
}

void AuditFilter::setSearch(const QString& text) {
    m_search = text.trimmed();
    invalidateFilter();
}

bool AuditFilter::filterAcceptsRow(int row, const QModelIndex&) const {
    const auto* model = qobject_cast<const AuditModel*>(sourceModel());
    if (model == nullptr) {
        return true;
    }
    const AuditEntry& entry = model->entry(row);
    const bool found = m_search.isEmpty() || entry.why.contains(m_search, Qt::CaseInsensitive) || entry.action.contains(m_search, Qt::CaseInsensitive) ||
                       entry.result.contains(m_search, Qt::CaseInsensitive);
    return found && (m_category == AuditCategory::All || entry.category == m_category) && (m_author.isEmpty() || entry.who == m_author);
}

QString tableAsCsv(const QAbstractItemModel& model) {
    QString csv;
    for (int row = -1; row < model.rowCount(); ++row) {
        QStringList fields;
        for (int column = 0; column < model.columnCount(); ++column) {
            const QVariant value = row < 0 ? model.headerData(column, Qt::Horizontal, Qt::DisplayRole) : model.index(row, column).data(Qt::DisplayRole);
            fields << csvField(value.toString());
        }
        csv += fields.join(QLatin1Char(',')) + QStringLiteral("\r\n");
    }
    return csv;
}

} // namespace telehelm::app
