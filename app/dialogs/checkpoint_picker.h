// SPDX-License-Identifier: GPL-3.0-or-later
// Left side of the Restart dialog: the loss with its checkpoints and what would be discarded, and their table. GUI thread only.
#pragma once

#include <QWidget>

#include "models/checkpoints_model.h"
#include "session/session.h"
#include "theme/theme.h"

class QLabel;
class QTableView;

namespace telehelm::app {

class CurveChart;

class CheckpointPicker : public QWidget {
    Q_OBJECT
public:
    CheckpointPicker(Session& session, ThemeController& theme, const QString& run, std::optional<qint64> wantedStep, QWidget* parent);
    [[nodiscard]] const CheckpointsModel& model() const { return m_model; }
    [[nodiscard]] bool loading() const { return m_checkpointJob != 0; }
    /// Wall time at a step by the loss curve's points; 0 where it is not known.
    [[nodiscard]] qint64 wallUsAt(qint64 step) const;
    void runMoved();

signals:
    void chosenChanged();

private:
    void buildTable();
    void checkpointsCame(const std::vector<ipc::CheckpointInfo>& checkpoints);
    void lossCame(const std::vector<ipc::SeriesSegment>& segments);
    void showChosen();
    void explain();

    Session& m_session;
    ThemeController& m_theme;
    QString m_run;
    std::optional<qint64> m_wantedStep;
    CheckpointsModel m_model;
    CurveChart* m_chart;
    QTableView* m_table;
    QLabel *m_why, *m_remark;
    std::vector<std::pair<qint64, qint64>> m_wall; // step → wall time, ascending
    JobId m_checkpointJob = 0, m_lossJob = 0;
};

} // namespace telehelm::app
