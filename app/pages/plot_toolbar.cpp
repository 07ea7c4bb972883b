// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/plot_toolbar.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <QButtonGroup>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QSignalBlocker>
#include <QSlider>
#include <QStyle>
#include <QToolButton>

#include "plots/value_text.h"

namespace telehelm::app {

namespace {

constexpr double kShortest = 0.25; // steps; the slider's first notch
constexpr double kMost = 0.999;
constexpr int kNotches = 200;

double longest() {
    return halfLife(kMost);
}

} // namespace

double halfLife(double smoothing) {
    return smoothing > 0 ? std::log(0.5) / std::log(smoothing) : 0;
}

double smoothingAt(double position) {
    if (position <= 0)
        return 0;
    const double steps = kShortest * std::pow(longest() / kShortest, std::min(position, 1.0));
    return std::pow(0.5, 1 / steps);
}

double positionOf(double smoothing) {
    if (smoothing <= 0)
        return 0;
    return std::clamp(std::log(halfLife(smoothing) / kShortest) / std::log(longest() / kShortest), 0.0, 1.0);
}

PlotToolbar::PlotToolbar(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    setObjectName(QStringLiteral("toolbar"));
    setAttribute(Qt::WA_StyledBackground);
    auto* layout = new QHBoxLayout(this);
    layout->setContentsMargins(8, 0, 8, 0);
    layout->setSpacing(3);
    addAxisSegments(*layout);
    addSeparator(*layout);
    addSmoothing(*layout);
    addSeparator(*layout);
    addToggles(*layout);
    addSeparator(*layout);
    layout->addStretch(1);
    addRange(*layout);
    addExport(*layout);
    connect(&theme, &ThemeController::changed, this, &PlotToolbar::restyle);
    restyle();
}

void PlotToolbar::addAxisSegments(QHBoxLayout& layout) {
    m_axisLabel = new QLabel(tr("X axis"), this);
    m_axisLabel->setProperty("role", "quiet");
    layout.addWidget(m_axisLabel);
    layout.addSpacing(2);
    auto* segments = new QHBoxLayout;
    segments->setSpacing(0);
    m_axis = new QButtonGroup(this);
    const std::array<std::pair<QString, const char*>, 3> kinds{
        {{tr("Step"), "first"}, {tr("Tokens"), "true"}, {tr("Wall time"), "last"}}};
    for (int i = 0; i < 3; ++i) {
        auto* button = new QToolButton(this);
        button->setText(kinds[static_cast<std::size_t>(i)].first);
        button->setProperty("segment", QLatin1String(kinds[static_cast<std::size_t>(i)].second));
        button->setCheckable(true);
        button->setAccessibleName(tr("X axis: %1").arg(button->text()));
        button->setToolTip(tr("Show x as %1 (%2)").arg(button->text().toLower()).arg(i + 1));
        m_axis->addButton(button, i);
        segments->addWidget(button);
    }
    m_axis->button(0)->setChecked(true);
    connect(m_axis, &QButtonGroup::idClicked, this, [this](int id) { emit xKindChosen(static_cast<plots::XKind>(id)); });
    layout.addLayout(segments);
}

void PlotToolbar::addSmoothing(QHBoxLayout& layout) {
    m_smoothingLabel = new QLabel(tr("Smoothing"), this);
    m_smoothingLabel->setProperty("role", "quiet");
    m_slider = new QSlider(Qt::Horizontal, this);
    m_slider->setRange(0, kNotches);
    m_slider->setFixedWidth(96);
    m_slider->setAccessibleName(tr("Smoothing"));
    m_smoothingLabel->setBuddy(m_slider);
    m_smoothingValue = new QLabel(this);
    layout.addWidget(m_smoothingLabel);
    layout.addWidget(m_slider);
    layout.addSpacing(4);
    layout.addWidget(m_smoothingValue);
    connect(m_slider, &QSlider::valueChanged, this, [this](int notch) {
        showSmoothing();
        emit smoothingChanged(smoothingAt(static_cast<double>(notch) / kNotches));
    });
}

QToolButton* PlotToolbar::addButton(QHBoxLayout& layout, const char* icon, const QString& text, const QString& tip,
                                    bool checkable) {
    auto* button = new QToolButton(this);
    button->setText(text);
    button->setToolTip(tip);
    button->setAccessibleName(text.isEmpty() ? tip : text);
    button->setCheckable(checkable);
    button->setIconSize({16, 16});
    button->setToolButtonStyle(text.isEmpty() ? Qt::ToolButtonIconOnly : Qt::ToolButtonTextBesideIcon);
    layout.addWidget(button);
    m_icons.emplace_back(button, icon);
    return button;
}

void PlotToolbar::addToggles(QHBoxLayout& layout) {
    m_envelope =
        addButton(layout, "envelope", tr("Envelope"), tr("Show the smallest and largest value of each pixel column (E)"), true);
    m_events = addButton(layout, "flag", tr("Events"), tr("Show checkpoints and other events (V)"), true);
    m_references = addButton(layout, "ref", tr("References"), tr("Show the published models' values (G)"), true);
    m_logY = addButton(layout, "log", tr("Log Y"), tr("Show the loss on a logarithmic axis (L)"), true);
    for (QToolButton* button : {m_envelope, m_events, m_references})
        button->setChecked(true);
    connect(m_envelope, &QToolButton::toggled, this, &PlotToolbar::envelopeToggled);
    connect(m_events, &QToolButton::toggled, this, &PlotToolbar::eventsToggled);
    connect(m_references, &QToolButton::toggled, this, &PlotToolbar::referencesToggled);
    connect(m_logY, &QToolButton::toggled, this, &PlotToolbar::logYToggled);
}

void PlotToolbar::addRange(QHBoxLayout& layout) {
    m_back = addButton(layout, "back", {}, tr("Previous zoom (Ctrl+Z)"), false);
    m_forward = addButton(layout, "fwd", {}, tr("Next zoom (Ctrl+Y)"), false);
    m_reset = addButton(layout, "fit", tr("Reset"), tr("Show the whole run (R)"), false);
    m_range = new QLineEdit(this);
    m_range->setAccessibleName(tr("Range of the x axis"));
    m_range->setToolTip(tr("The range that the plots show, e.g. “29,500 – 44,500” or “1.2k – 3k”; Enter applies it."));
    m_range->setAlignment(Qt::AlignCenter);
    layout.addSpacing(4);
    layout.addWidget(m_range);
    layout.addSpacing(8);
    m_follow = addButton(layout, "follow", tr("Follow"), tr("Keep the newest step in view (F)"), true);
    setHistory(false, false);
    connect(m_back, &QToolButton::clicked, this, &PlotToolbar::backClicked);
    connect(m_forward, &QToolButton::clicked, this, &PlotToolbar::forwardClicked);
    connect(m_reset, &QToolButton::clicked, this, &PlotToolbar::resetClicked);
    connect(m_range, &QLineEdit::returnPressed, this, &PlotToolbar::readRangeField);
    connect(m_range, &QLineEdit::editingFinished, this, [this] { setRange(m_kind, m_from, m_to); });
    connect(m_follow, &QToolButton::clicked, this, &PlotToolbar::followToggled);
}

void PlotToolbar::addExport(QHBoxLayout& layout) {
    m_export = addButton(layout, "export", {}, tr("Save the plots"), false);
    m_export->setPopupMode(QToolButton::InstantPopup);
    m_export->setStyleSheet(QStringLiteral("QToolButton::menu-indicator { image: none; }"));
    auto* menu = new QMenu(m_export);
    const std::array<std::pair<QString, QString>, 4> formats{{{tr("Picture (PNG)…"), QStringLiteral("png")},
                                                              {tr("Drawing (SVG)…"), QStringLiteral("svg")},
                                                              {tr("Page (PDF)…"), QStringLiteral("pdf")},
                                                              {tr("Values in view (CSV)…"), QStringLiteral("csv")}}};
    for (const auto& [text, format] : formats)
        menu->addAction(text, this, [this, format = format] { emit exportRequested(format); });
    m_export->setMenu(menu);
}

void PlotToolbar::addSeparator(QHBoxLayout& layout) {
    auto* line = new QFrame(this);
    line->setObjectName(QStringLiteral("vline"));
    line->setFixedSize(1, 20);
    layout.addSpacing(4);
    layout.addWidget(line);
    layout.addSpacing(4);
}

void PlotToolbar::setXKind(plots::XKind kind) {
    m_kind = kind;
    m_axis->button(static_cast<int>(kind))->setChecked(true);
}

void PlotToolbar::setSmoothing(double weight) {
    const QSignalBlocker blocker(m_slider);
    m_slider->setValue(static_cast<int>(std::lround(positionOf(weight) * kNotches)));
    showSmoothing();
}

void PlotToolbar::stepSmoothing(int steps) {
    m_slider->setValue(m_slider->value() + steps * kNotches / 20);
}

void PlotToolbar::setLogY(bool on) {
    m_logY->setChecked(on);
}

void PlotToolbar::showSmoothing() {
    const double weight = smoothingAt(static_cast<double>(m_slider->value()) / kNotches);
    const QString text = QString::number(weight, 'f', 3);
    m_smoothingValue->setText(text);
    const QString tip =
        weight > 0 ? tr("%1, half-life %2 steps ([ and ])").arg(text).arg(halfLife(weight), 0, 'f', halfLife(weight) < 10 ? 1 : 0)
                   : tr("0, not smoothed ([ and ])");
    m_slider->setToolTip(tip);
    m_smoothingValue->setToolTip(tip);
    m_slider->setAccessibleDescription(tip);
}

void PlotToolbar::setRange(plots::XKind kind, double from, double to) {
    m_kind = kind;
    m_from = from;
    m_to = to;
    if (!m_range->hasFocus() || !m_range->isModified()) {
        m_range->setText(plots::rangeText(kind, from, to));
        fitRange();
    }
    m_range->setProperty("state", QVariant());
    m_range->style()->polish(m_range);
}

/// As wide as its text, and never narrower than five-digit steps, so that it does not twitch while following.
void PlotToolbar::fitRange() {
    const QFontMetrics metrics = m_range->fontMetrics();
    const int wanted =
        std::max(metrics.horizontalAdvance(m_range->text()), metrics.horizontalAdvance(QStringLiteral("29,500 – 44,500"))) + 20;
    if (wanted == m_range->width())
        return;
    m_range->setFixedWidth(wanted);
    fitWords();
}

void PlotToolbar::readRangeField() {
    const auto range = plots::readRange(m_kind, m_range->text(), m_to);
    m_range->setProperty("state", range ? QVariant() : QVariant(QStringLiteral("wrong")));
    m_range->style()->polish(m_range);
    if (!range)
        return;
    m_range->setModified(false);
    emit rangeEntered(range->first, range->second);
}

void PlotToolbar::setHistory(bool back, bool forward) {
    m_back->setEnabled(back);
    m_forward->setEnabled(forward);
}

void PlotToolbar::setFollowing(bool on, int newSteps) {
    m_follow->setChecked(on);
    const QString text = on || newSteps <= 0 ? tr("Follow")
                         : newSteps == 1     ? tr("1 new step, Follow")
                                             : tr("%1 new steps, Follow").arg(plots::groupedText(newSteps));
    m_follow->setText(text);
    m_follow->setAccessibleName(text);
}

void PlotToolbar::setStale(bool on) {
    m_follow->setEnabled(!on);
    m_follow->setAccessibleDescription(on ? tr("The live stream is down; Follow waits for it.") : QString());
}

void PlotToolbar::resizeEvent(QResizeEvent* event) {
    QWidget::resizeEvent(event);
    fitWords();
}

void PlotToolbar::fitWords() {
    for (int level = 0; level <= 3; ++level) { // words go first where there is no room for them
        compact(level);
        if (layout()->sizeHint().width() <= width())
            return;
    }
}

void PlotToolbar::compact(int level) {
    if (std::exchange(m_level, level) == level)
        return;
    m_axisLabel->setVisible(level < 1);
    m_smoothingLabel->setVisible(level < 2);
    m_slider->setFixedWidth(level < 3 ? 96 : 60);
    for (QToolButton* button : {m_envelope, m_events, m_references, m_logY, m_reset})
        button->setToolButtonStyle(level < 2 ? Qt::ToolButtonTextBesideIcon : Qt::ToolButtonIconOnly);
}

void PlotToolbar::restyle() {
    setFixedHeight(36 * m_theme.textScale() / 100);
    const QFont words = m_theme.font(TextRole::TableText);
    for (const auto& [button, icon] : m_icons) {
        button->setIcon(m_theme.icon(icon));
        button->setFont(words);
    }
    for (QAbstractButton* button : m_axis->buttons())
        button->setFont(words);
    m_axisLabel->setFont(words);
    m_smoothingLabel->setFont(words);
    m_smoothingValue->setFont(m_theme.font(TextRole::TableNumber));
    m_smoothingValue->setFixedWidth(m_smoothingValue->fontMetrics().horizontalAdvance(QStringLiteral("0.0000")));
    m_range->setFont(m_theme.font(TextRole::TableNumber));
    fitRange();
    m_level = -1;
    fitWords();
    m_back->setFixedWidth(28);
    m_forward->setFixedWidth(28);
    showSmoothing();
}

} // namespace telehelm::app
