// SPDX-License-Identifier: GPL-3.0-or-later
// The checkpoints of a run to restart from, newest first; one is chosen. GUI thread only.
#pragma once

#include <optional>
#include <vector>

#include <QAbstractTableModel>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

class CheckpointsModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Chosen, Step, Saved, Loss, GradNorm, Condition, ColumnCount };
    enum Role { SeverityRole = Qt::UserRole + 1 }; // ipc::Severity as int, of Condition

    explicit CheckpointsModel(QObject* parent = nullptr);

    /// `wantedStep`: an alert's advice, the newest good checkpoint at or before it is suggested; unset: the newest good one.
    void setCheckpoints(std::vector<ipc::CheckpointInfo> checkpoints, std::optional<qint64> wantedStep);
    [[nodiscard]] const std::vector<ipc::CheckpointInfo>& checkpoints() const { return m_checkpoints; }
    [[nodiscard]] const ipc::CheckpointInfo* chosen() const;
    [[nodiscard]] int chosenRow() const { return m_chosen; }
    [[nodiscard]] int suggestedRow() const { return m_suggested; }
    /// A damaged checkpoint cannot be chosen: false.
    bool choose(int row);

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
    Qt::ItemFlags flags(const QModelIndex& index) const override;

signals:
    void chosenChanged();

private:
    [[nodiscard]] QString conditionText(int row) const;
    [[nodiscard]] QString cell(int row, int column) const;

    std::vector<ipc::CheckpointInfo> m_checkpoints;
    bool m_severalAttempts = false;
    int m_chosen = -1, m_suggested = -1;
};

} // namespace telehelm::app
