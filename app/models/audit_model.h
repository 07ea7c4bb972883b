// SPDX-License-Identifier: GPL-3.0-or-later
// Who did what to a run, when and why: its commands and what happened by itself, newest first. GUI thread only.
#pragma once

#include <optional>
#include <vector>

#include <QAbstractTableModel>
#include <QSortFilterProxyModel>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

enum class AuditCategory { All, RunControl, Mixture, Automatic };

struct AuditEntry {
    QString key;     // "command/<uuid>" or "event/<id>"
    qint64 wallUs = 0;
    qint64 step = -1;
    QString who, host, action, result, why;
    ipc::Severity severity = ipc::Severity::Info;
    AuditCategory category = AuditCategory::Automatic;
    std::optional<ipc::Command> command;
    std::optional<ipc::Event> event;
};

[[nodiscard]] AuditEntry auditEntry(const ipc::Command& command);
/// Empty for events that only repeat what a command's row says.
[[nodiscard]] std::optional<AuditEntry> auditEntry(const ipc::Event& event);

class AuditModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { When, Step, Who, Action, Result, Why, ColumnCount };
    enum Role { SeverityRole = Qt::UserRole + 1, CategoryRole, AutomaticRole };

    explicit AuditModel(QObject* parent = nullptr);

    void setEntries(std::vector<AuditEntry> entries); // any order
    void upsert(AuditEntry entry);
    [[nodiscard]] const AuditEntry& entry(int row) const { return m_entries[static_cast<std::size_t>(row)]; }
    [[nodiscard]] int number(int row) const { return rowCount() - row; } // counted from the oldest
    [[nodiscard]] QStringList authors() const;

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    [[nodiscard]] QString cell(const AuditEntry& entry, int column) const;
    std::vector<AuditEntry> m_entries;
};

/// Category, operator and a search in action, result and reason.
class AuditFilter : public QSortFilterProxyModel {
    Q_OBJECT
public:
    using QSortFilterProxyModel::QSortFilterProxyModel;
    void setCategory(AuditCategory category);
    void setAuthor(const QString& author); // empty: any
    void setSearch(const QString& text);

protected:
    bool filterAcceptsRow(int row, const QModelIndex& parent) const override;

private:
    AuditCategory m_category = AuditCategory::All;
    QString m_author, m_search;
};

/// The rows of any table model as CSV (RFC 4180), headers first.
[[nodiscard]] QString tableAsCsv(const QAbstractItemModel& model);

} // namespace telehelm::app
