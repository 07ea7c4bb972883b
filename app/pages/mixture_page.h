// SPDX-License-Identifier: GPL-3.0-or-later
// The data mixture of the focused run: in force, draft, history, effect, apply (design picture 05). GUI thread only.
#pragma once

#include <QTimer>
#include <QWidget>

#include "models/mixture_changes_model.h"
#include "models/mixture_model.h"
#include "pages/mixture_effects.h"
#include "session/session.h"
#include "theme/theme.h"

class QLabel;
class QPushButton;
class QTableView;

namespace telehelm::app {

class EpochChart;
class MixtureApplyBox;
class MixtureTable;
class PageHeader;
class Panel;
class ShareBars;
class ValueBars;

class MixturePage : public QWidget {
    Q_OBJECT
public:
    MixturePage(Session& session, ThemeController& theme, QWidget* parent = nullptr);
    [[nodiscard]] MixtureModel& model() { return m_model; }
    [[nodiscard]] const MixtureChangesModel& changes() const { return m_changes; }

protected:
    void showEvent(QShowEvent* event) override;

private:
    QWidget* buildHeader();
    QWidget* buildDomains();
    QWidget* buildChanges();
    QWidget* buildProjection();
    QWidget* buildRight();
    void connectParts();
    void runChosen();  // another run is focused
    void runMoved();   // the same one moved on
    void reloadChanges();
    void draftChanged();
    void showEffects();
    void showProgress(const std::vector<MixtureEffects::Progress>& progress);
    void exportCsv();
    [[nodiscard]] const ipc::RunInfo* run() const { return m_session.run(m_session.focusedRun()); }

    Session& m_session;
    ThemeController& m_theme;
    MixtureModel m_model;
    MixtureChangesModel m_changes;
    MixtureEffects m_effects;
    QTimer m_refresh; // gathers what a burst of news changed
    QTimer m_askAgain;
    QString m_run;
    PageHeader* m_header = nullptr;
    QLabel *m_chip = nullptr, *m_hint = nullptr, *m_noChanges = nullptr;
    QPushButton *m_revert = nullptr, *m_normalise = nullptr, *m_lock = nullptr, *m_reset = nullptr;
    Panel *m_domains = nullptr, *m_earlier = nullptr, *m_progressPanel = nullptr, *m_normPanel = nullptr;
    MixtureTable* m_table = nullptr;
    QTableView* m_changesTable = nullptr;
    EpochChart* m_epochs = nullptr;
    ValueBars* m_progress = nullptr;
    ShareBars* m_shares = nullptr;
    CurveChart* m_norm = nullptr;
    MixtureApplyBox* m_apply = nullptr;
};

} // namespace telehelm::app
