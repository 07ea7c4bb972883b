// SPDX-License-Identifier: GPL-3.0-or-later
// Bits per byte of each validation domain as small multiples beside the published models' lines (design.md, section 3). GUI
// thread.
#pragma once

#include <functional>
#include <vector>

#include <QWidget>

#include "pages/reference_tables.h"
#include "plots/plot_stack.h"

class QLabel;
class QStackedLayout;
class QToolButton;

namespace telehelm::app {

class BpbPanel : public QWidget {
    Q_OBJECT
public:
    using CurvesOf = std::function<std::vector<plots::Curve>(const QString& series)>;

    BpbPanel(ThemeController& theme, QWidget* parent = nullptr);

    void setDomains(const std::vector<QString>& domains); // of the focused run
    void setCurves(const CurvesOf& curvesOf);
    void setEmptyText(const QString& headline, const QString& sentence);
    void setFlags(const std::vector<plots::Flag>& flags);
    void setXKind(plots::XKind kind);
    void setXRange(double from, double to);
    void setCursor(double x);
    void setReferencesVisible(bool on);
    void setFlagsVisible(bool on);
    void setStale(bool on);
    void setHighlightedRun(const QString& run);
    void resetY();
    void setLanguage(BpbLanguage language);
    [[nodiscard]] BpbLanguage language() const { return m_language; }
    /// The value of each cell at x; NaN: newest.
    void valuesAt(double x, const std::function<void(const QString& series, double value)>& sink) const;
    [[nodiscard]] plots::PlotStack* stack(BpbLanguage language) const;
    void setSpanWords(std::function<plots::Span(double from, double to)> words);

signals:
    void xRangeChanged(double from, double to);
    void cursorMoved(double x);
    void flagClicked(qint64 id);
    void resetRequested();
    // Of the stack that is in view:
    void exportRequested(const QString& format);
    void rangeRequested(int strip);
    void noteRequested(double x);

private:
    struct Side {
        std::vector<BpbCell> cells;
        plots::PlotStack* stack = nullptr;
    };
    void buildHeader();
    void rebuild(BpbLanguage language, const std::vector<QString>& domains);
    void restoreState(Side& side);
    void restyle();
    std::function<plots::Span(double, double)> m_spanWords;
    [[nodiscard]] Side& side(BpbLanguage language) { return language == BpbLanguage::English ? m_english : m_chinese; }
    [[nodiscard]] const Side& side(BpbLanguage language) const {
        return language == BpbLanguage::English ? m_english : m_chinese;
    }
    template <typename F> void forEachStack(F action);

    ThemeController& m_theme;
    ReferenceTables m_tables;
    BpbLanguage m_language = BpbLanguage::English;
    std::vector<QString> m_domains;
    Side m_english, m_chinese;
    QWidget* m_header = nullptr;
    QLabel *m_title = nullptr, *m_remark = nullptr;
    QToolButton *m_englishTab = nullptr, *m_chineseTab = nullptr;
    QStackedLayout* m_stacks = nullptr;
    // what a rebuilt stack is told again
    std::vector<plots::Flag> m_flags;
    plots::XKind m_kind = plots::XKind::Step;
    double m_from = 0, m_to = 1;
    bool m_references = true, m_flagsOn = true, m_stale = false;
    QString m_headline, m_sentence;
};

} // namespace telehelm::app
