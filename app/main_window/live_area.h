// SPDX-License-Identifier: GPL-3.0-or-later
// The live page with its docks: Runs and Series at the left, Events under all. An inner main window, so that its layout is its own.
// GUI thread only.
#pragma once

#include <QByteArray>
#include <QMainWindow>
#include <QSet>

#include "main_window/events_dock.h"
#include "main_window/run_lists.h"

class QSettings;

namespace telehelm::app {

class LivePage;

class LiveArea : public QMainWindow {
    Q_OBJECT
public:
    LiveArea(Session& session, ThemeController& theme, RunSlots& runSlots, MessagesModel& messages, QWidget* parent = nullptr);
    [[nodiscard]] LivePage* page() const { return m_page; }
    [[nodiscard]] RunsDock* runsDock() const { return m_runsDock; }
    [[nodiscard]] SeriesDock* seriesDock() const { return m_seriesDock; }
    [[nodiscard]] EventsDock* eventsDock() const { return m_eventsDock; }
    [[nodiscard]] SeriesModel& series() { return m_series; }
    void restoreDefaultLayout();
    void restoreLayout(const QByteArray& state);
    [[nodiscard]] bool wasShown() const { return m_shown; }
    void showSeries(const QString& series);      // unhides and selects it

protected:
    void resizeEvent(QResizeEvent* event) override;
    void showEvent(QShowEvent* event) override;

private:
    void connectModels();
    void connectPage();
    void sizeDocks();
    void fit();
    void showRuns();
    void refreshRun(const QString& run);
    Session& m_session;
    RunSlots& m_slots;
    RunsModel m_runs;
    SeriesModel m_series;
    LivePage* m_page;
    RunsDock* m_runsDock;
    SeriesDock* m_seriesDock;
    EventsDock* m_eventsDock;
    bool m_low = false;       // the window is: the docks at the bottom give height to the plots
    bool m_collapsed = false; // the left docks, because the window is narrow
    bool m_shown = false;
    QByteArray m_layout; // as saved
    QSet<QString> m_seen; // runs whose first visibility is settled
};

} // namespace telehelm::app
