// SPDX-License-Identifier: GPL-3.0-or-later
// The runs of the daemon, newest first: name with swatch, and what it is doing. GUI thread only.
#pragma once

#include <vector>

#include <QAbstractTableModel>

#include "models/run_slots.h"
#include "telehelm/ipc/types.h"

namespace telehelm::app {

class RunsModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Name, State, ColumnCount };
    enum Role { RunRole = Qt::UserRole + 1, SlotRole, HiddenRole, StateRole };

    explicit RunsModel(RunSlots& slots_, QObject* parent = nullptr);
    void setRuns(const std::vector<ipc::RunInfo>& runs);
    void updateRun(const ipc::RunInfo& run);
    /// Live values may be old: says "stale" where it would say "live".
    void setStale(bool stale);
    [[nodiscard]] int rowOf(const QString& run) const;

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    struct Row {
        QString run;
        int slot = 0;
        ipc::AttemptState state = ipc::AttemptState::Starting;
        bool hasAttempt = false;
        QString tip;
        bool operator==(const Row&) const = default;
    };
    [[nodiscard]] Row rowFor(const ipc::RunInfo& run) const;
    [[nodiscard]] QString stateWord(const Row& row) const;
    void onHiddenChanged(const QString& run);
    RunSlots& m_slots;
    std::vector<Row> m_rows;
    bool m_stale = false;
};

/// "running", "paused", … as the window writes an attempt's state.
[[nodiscard]] QString stateText(ipc::AttemptState state);

} // namespace telehelm::app
