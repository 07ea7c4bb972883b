// SPDX-License-Identifier: GPL-3.0-or-later
// The 36 px line over the plots: x axis, smoothing, toggles, zoom history, range, Follow, export. GUI thread only.
#pragma once

#include <utility>
#include <vector>

#include <QWidget>

#include "plots/plot_types.h"
#include "theme/theme.h"

class QButtonGroup;
class QHBoxLayout;
class QLabel;
class QLineEdit;
class QSlider;
class QToolButton;

namespace telehelm::app {

/// Weight of the EMA for a slider position of 0 … 1, linear in log half-life; 0 → 0, 1 → 0.999.
[[nodiscard]] double smoothingAt(double position);
[[nodiscard]] double positionOf(double smoothing);
[[nodiscard]] double halfLife(double smoothing); // steps

class PlotToolbar : public QWidget {
    Q_OBJECT
public:
    PlotToolbar(ThemeController& theme, QWidget* parent = nullptr);

    void setXKind(plots::XKind kind);
    void setSmoothing(double weight);
    void stepSmoothing(int steps); // [ and ]
    void setLogY(bool on);
    void setRange(plots::XKind kind, double from, double to);
    void setHistory(bool back, bool forward);
    void setFollowing(bool on, int newSteps = 0);
    void setStale(bool on); // Follow waits
    [[nodiscard]] QToolButton* envelope() const { return m_envelope; }
    [[nodiscard]] QToolButton* events() const { return m_events; }
    [[nodiscard]] QToolButton* references() const { return m_references; }
    [[nodiscard]] QToolButton* logY() const { return m_logY; }
    [[nodiscard]] QToolButton* follow() const { return m_follow; }

    [[nodiscard]] QSize minimumSizeHint() const override { return {420, height()}; }

signals:
    void xKindChosen(telehelm::app::plots::XKind kind);
    void smoothingChanged(double weight);
    void envelopeToggled(bool on);
    void eventsToggled(bool on);
    void referencesToggled(bool on);
    void logYToggled(bool on);
    void backClicked();
    void forwardClicked();
    void resetClicked();
    void rangeEntered(double from, double to);
    void followToggled(bool on);
    void exportRequested(const QString& format); // "png", "svg", "pdf", "csv"

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    void compact(int level); // 0: all words … 3: the least
    void addAxisSegments(QHBoxLayout& layout);
    void addSmoothing(QHBoxLayout& layout);
    void addToggles(QHBoxLayout& layout);
    void addRange(QHBoxLayout& layout);
    void addExport(QHBoxLayout& layout);
    void addSeparator(QHBoxLayout& layout);
    QToolButton* addButton(QHBoxLayout& layout, const char* icon, const QString& text, const QString& tip, bool checkable);
    void showSmoothing();
    void fitWords();
    void fitRange();
    void readRangeField();
    void restyle();

    ThemeController& m_theme;
    QButtonGroup* m_axis = nullptr;
    QSlider* m_slider = nullptr;
    QLabel* m_smoothingValue = nullptr;
    QToolButton *m_envelope = nullptr, *m_events = nullptr, *m_references = nullptr, *m_logY = nullptr;
    QToolButton *m_back = nullptr, *m_forward = nullptr, *m_reset = nullptr, *m_follow = nullptr, *m_export = nullptr;
    QLabel *m_axisLabel = nullptr, *m_smoothingLabel = nullptr;
    QLineEdit* m_range = nullptr;
    int m_level = 0;
    plots::XKind m_kind = plots::XKind::Step;
    double m_from = 0, m_to = 1;
    std::vector<std::pair<QToolButton*, const char*>> m_icons;
};

} // namespace telehelm::app
