// SPDX-License-Identifier: GPL-3.0-or-later
// The mixtures that a run has trained under, newest first: what changed, by whom, why, and what the gradient norm did. GUI thread only.
#pragma once

#include <optional>
#include <vector>

#include <QAbstractTableModel>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

struct MixtureChange {
    qint64 step = 0; // first step under it; 0: the start
    qint64 wallUs = 0;
    QString who, reason;
    ipc::Mixture before, after; // before empty: the first one
    std::optional<double> normBefore, normAfter;

    [[nodiscard]] QString id() const; // "mix-0030500"
    [[nodiscard]] QString words() const; // "WebText −2.00, Code +0.91, others +0.30"
};

/// From the run's first config, its applied mixture commands and restarts; newest first.
[[nodiscard]] std::vector<MixtureChange> mixtureChanges(const ipc::RunInfo& run, const std::vector<ipc::Command>& commands);

class MixtureChangesModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Step, When, Who, Mixture, What, GradNorm, Reason, ColumnCount };
    enum Role { ShiftedRole = Qt::UserRole + 1 }; // the norm moved by 10 % or more

    explicit MixtureChangesModel(QObject* parent = nullptr);
    void setChanges(std::vector<MixtureChange> changes);
    void setNorms(int row, double before, double after);
    [[nodiscard]] const std::vector<MixtureChange>& changes() const { return m_changes; }

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    std::vector<MixtureChange> m_changes;
};

} // namespace telehelm::app
