// SPDX-License-Identifier: GPL-3.0-or-later
// What happened to the runs, newest first: severity, when, step, kind and one sentence. GUI thread only.
#pragma once

#include <vector>

#include <QAbstractTableModel>
#include <QSortFilterProxyModel>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

class EventsModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Severity, Raised, Step, Kind, Text, ColumnCount };
    enum Role { SeverityRole = Qt::UserRole + 1, StepRole, IdRole, RunRole };

    explicit EventsModel(QObject* parent = nullptr);
    void setEvents(const std::vector<ipc::Event>& oldestFirst);
    void add(const ipc::Event& event); // one with a known id replaces its row
    [[nodiscard]] const ipc::Event& event(int row) const { return m_events[static_cast<std::size_t>(row)]; }
    [[nodiscard]] int rowOf(qint64 id) const;

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    [[nodiscard]] QString cell(const ipc::Event& event, int column) const;
    std::vector<ipc::Event> m_events; // newest first
};

/// One run's events from a severity up.
class EventsFilter : public QSortFilterProxyModel {
    Q_OBJECT
public:
    using QSortFilterProxyModel::QSortFilterProxyModel;
    void setRun(const QString& run); // empty: all runs
    void setLeast(ipc::Severity least);
    [[nodiscard]] ipc::Severity least() const { return m_least; }

protected:
    bool filterAcceptsRow(int row, const QModelIndex& parent) const override;

private:
    QString m_run;
    ipc::Severity m_least = ipc::Severity::Info;
};

[[nodiscard]] QString kindText(ipc::EventKind kind); // "Checkpoint", "Mixture", "Rank failed"
[[nodiscard]] QString severityText(ipc::Severity severity);

} // namespace telehelm::app
