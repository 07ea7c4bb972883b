// SPDX-License-Identifier: GPL-3.0-or-later
// The run in view on every page: lamp and state, facts, nine readouts, and the three run controls. Refreshed 4 times a second.
// GUI thread only.
#pragma once

#include <array>

#include <QTimer>
#include <QWidget>

#include "main_window/readout.h"
#include "session/session.h"

class QHBoxLayout;
class QPushButton;

namespace telehelm::app {

enum class Lamp { Running, Paused, Failed, Unknown, Finished };

/// Name, state and facts of the run at the left end.
class RunBlock : public QWidget {
    Q_OBJECT
public:
    RunBlock(ThemeController& theme, QWidget* parent);
    void show(const QString& name, Lamp lamp, const QString& state, const std::array<QString, 2>& facts);
    [[nodiscard]] QString stateWord() const { return m_state; }
    [[nodiscard]] Lamp lamp() const { return m_lamp; }
    [[nodiscard]] QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void paintLamp(QPainter& painter, const QPointF& centre) const;
    ThemeController& m_theme;
    QString m_name, m_state;
    Lamp m_lamp = Lamp::Unknown;
    std::array<QString, 2> m_facts;
    int m_width = 252;
};

class BridgeStrip : public QWidget {
    Q_OBJECT
public:
    BridgeStrip(Session& session, ThemeController& theme, QWidget* parent = nullptr);
    [[nodiscard]] QPushButton* pauseButton() const { return m_pause; } // Resume while the run is paused
    [[nodiscard]] QPushButton* restartButton() const { return m_restart; }
    [[nodiscard]] QPushButton* stopButton() const { return m_stop; }
    [[nodiscard]] const Readout* readout(ReadoutId id) const { return m_readouts[static_cast<std::size_t>(id)]; }
    [[nodiscard]] RunBlock* runBlock() const { return m_run; }
    [[nodiscard]] const RunMetrics& metrics() const { return m_metrics; }
    /// Why Pause, Restart or Stop cannot be used now; empty: it can.
    [[nodiscard]] QString whyNoControl(bool needsLiveRun) const;
    void refresh();

signals:
    void pauseAsked();
    void resumeAsked();
    void restartAsked();
    void stopAsked();

protected:
    void resizeEvent(QResizeEvent* event) override;
    void paintEvent(QPaintEvent* event) override;

private:
    void build();
    void focusRun(const QString& run);
    void takeNews(const std::vector<ipc::News>& news);
    void refreshRun(const ipc::RunInfo* run);
    void refreshReadouts(const ipc::RunInfo& run);
    void refreshButtons(const ipc::RunInfo* run);
    void dropReadouts();
    [[nodiscard]] Readout::Severity severityOf(ReadoutId id) const;

    Session& m_session;
    ThemeController& m_theme;
    RunMetrics m_metrics;
    JobId m_seriesJob = 0;
    RunBlock* m_run = nullptr;
    std::array<Readout*, kReadouts> m_readouts{};
    QWidget* m_buttons = nullptr;
    QPushButton *m_pause = nullptr, *m_restart = nullptr, *m_stop = nullptr;
    QString m_pauseLook; // what the first button shows now: changed only when that changes
    QTimer m_timer;
};

} // namespace telehelm::app
