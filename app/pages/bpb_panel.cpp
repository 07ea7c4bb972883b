// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/bpb_panel.h"

#include <QButtonGroup>
#include <QHBoxLayout>
#include <QLabel>
#include <QStackedLayout>
#include <QToolButton>
#include <QVBoxLayout>

namespace telehelm::app {

using plots::PlotStack;

BpbPanel::BpbPanel(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    if (auto tables = ReferenceTables::load())
        m_tables = std::move(*tables);
    else
        qWarning("The reference lines are left out: %s", tables.error().text().c_str());
    setAttribute(Qt::WA_StyledBackground);
    setObjectName(QStringLiteral("page"));
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(0);
    buildHeader();
    layout->addWidget(m_header);
    auto* body = new QWidget(this);
    m_stacks = new QStackedLayout(body);
    layout->addWidget(body, 1);
    rebuild(BpbLanguage::English, {});
    rebuild(BpbLanguage::Chinese, {});
    setLanguage(BpbLanguage::English);
    connect(&theme, &ThemeController::changed, this, &BpbPanel::restyle);
    restyle();
}

void BpbPanel::buildHeader() {
    m_header = new QWidget(this);
    auto* layout = new QHBoxLayout(m_header);
    layout->setContentsMargins(12, 0, 8, 0);
    layout->setSpacing(0);
    m_title = new QLabel(tr("Bits per byte"), m_header);
    m_remark = new QLabel(tr("validation, lower is better"), m_header);
    m_remark->setProperty("role", "quiet");
    m_header->setToolTip(
        tr("Bits per byte on text that was never trained on. The lines of Llama2, Llama3, Qwen1.5 and Tele-FLM are from "
           "tables 5 and 6 of the Tele-FLM report: measured on other text of the same domain, so they show where one could "
           "come to, not a contest."));
    layout->addWidget(m_title);
    layout->addSpacing(10);
    layout->addWidget(m_remark);
    layout->addStretch(1);
    auto* group = new QButtonGroup(this);
    const auto tab = [&](const QString& text, const char* segment, BpbLanguage language) {
        auto* button = new QToolButton(m_header);
        button->setText(text);
        button->setCheckable(true);
        button->setProperty("segment", QLatin1String(segment));
        button->setAccessibleName(tr("Bits per byte: %1").arg(text));
        group->addButton(button);
        layout->addWidget(button);
        connect(button, &QToolButton::clicked, this, [this, language] { setLanguage(language); });
        return button;
    };
    m_englishTab = tab(tr("English"), "first", BpbLanguage::English);
    m_chineseTab = tab(tr("Chinese"), "last", BpbLanguage::Chinese);
}

void BpbPanel::rebuild(BpbLanguage language, const std::vector<QString>& domains) {
    Side& target = side(language);
    target.cells = bpbCells(language, domains);
    std::vector<plots::StripSpec> specs;
    for (const BpbCell& cell : target.cells)
        specs.push_back(
            {cell.domain.isEmpty() ? tr("Weighted mean") : cell.domain, {}, plots::ValueFormat::Bpb, false, 1, false});
    if (target.stack) {
        m_stacks->removeWidget(target.stack);
        target.stack->deleteLater();
    }
    plots::StackOptions options;
    options.columns = 2;
    options.leftMargin = 44;
    options.rightMargin = 6;
    options.smallMultiples = true;
    target.stack = new PlotStack(m_theme, std::move(specs), false, options, this);
    for (std::size_t i = 0; i < target.cells.size(); ++i)
        target.stack->setReferences(static_cast<int>(i), m_tables.bpb(language, target.cells[i].column));
    m_stacks->addWidget(target.stack);
    connect(target.stack, &PlotStack::xRangeChanged, this, &BpbPanel::xRangeChanged);
    connect(target.stack, &PlotStack::cursorMoved, this, &BpbPanel::cursorMoved);
    connect(target.stack, &PlotStack::flagClicked, this, &BpbPanel::flagClicked);
    connect(target.stack, &PlotStack::resetRequested, this, &BpbPanel::resetRequested);
    connect(target.stack, &PlotStack::exportRequested, this, &BpbPanel::exportRequested);
    connect(target.stack, &PlotStack::rangeRequested, this, &BpbPanel::rangeRequested);
    connect(target.stack, &PlotStack::noteRequested, this, &BpbPanel::noteRequested);
    restoreState(target);
    if (language == m_language)
        m_stacks->setCurrentWidget(target.stack);
}

void BpbPanel::restoreState(Side& target) {
    target.stack->setXKind(m_kind);
    target.stack->setSpanWords(m_spanWords);
    target.stack->setXRange(m_from, m_to);
    target.stack->setFlags(m_flags);
    target.stack->setReferencesVisible(m_references);
    target.stack->setFlagsVisible(m_flagsOn);
    target.stack->setStale(m_stale);
    for (std::size_t i = 0; i < target.cells.size(); ++i)
        target.stack->setEmptyText(static_cast<int>(i), m_headline, m_sentence);
}

void BpbPanel::setDomains(const std::vector<QString>& domains) {
    if (domains == m_domains)
        return;
    m_domains = domains;
    rebuild(BpbLanguage::English, domains);
    rebuild(BpbLanguage::Chinese, domains);
}

void BpbPanel::setCurves(const CurvesOf& curvesOf) {
    for (const Side* target : {&m_english, &m_chinese})
        for (std::size_t i = 0; i < target->cells.size(); ++i)
            target->stack->setCurves(static_cast<int>(i), curvesOf(target->cells[i].series()));
}

template <typename F> void BpbPanel::forEachStack(F action) {
    action(*m_english.stack);
    action(*m_chinese.stack);
}

void BpbPanel::setEmptyText(const QString& headline, const QString& sentence) {
    if (headline == m_headline && sentence == m_sentence)
        return;
    m_headline = headline;
    m_sentence = sentence;
    for (const Side* target : {&m_english, &m_chinese})
        for (std::size_t i = 0; i < target->cells.size(); ++i)
            target->stack->setEmptyText(static_cast<int>(i), headline, sentence);
}

void BpbPanel::setSpanWords(std::function<plots::Span(double from, double to)> words) {
    m_spanWords = std::move(words);
    forEachStack([&](PlotStack& stack) { stack.setSpanWords(m_spanWords); });
}

void BpbPanel::setFlags(const std::vector<plots::Flag>& flags) {
    m_flags = flags;
    forEachStack([&](PlotStack& stack) { stack.setFlags(flags); });
}

void BpbPanel::setXKind(plots::XKind kind) {
    m_kind = kind;
    forEachStack([&](PlotStack& stack) { stack.setXKind(kind); });
}

void BpbPanel::setXRange(double from, double to) {
    m_from = from;
    m_to = to;
    forEachStack([&](PlotStack& stack) { stack.setXRange(from, to); });
}

void BpbPanel::setCursor(double x) {
    forEachStack([&](PlotStack& stack) { stack.setCursor(x); });
}

void BpbPanel::setReferencesVisible(bool on) {
    m_references = on;
    forEachStack([&](PlotStack& stack) { stack.setReferencesVisible(on); });
}

void BpbPanel::setFlagsVisible(bool on) {
    m_flagsOn = on;
    forEachStack([&](PlotStack& stack) { stack.setFlagsVisible(on); });
}

void BpbPanel::setStale(bool on) {
    m_stale = on;
    forEachStack([&](PlotStack& stack) { stack.setStale(on); });
}

void BpbPanel::setHighlightedRun(const QString& run) {
    forEachStack([&](PlotStack& stack) { stack.setHighlightedRun(run); });
}

void BpbPanel::resetY() {
    forEachStack([](PlotStack& stack) { stack.resetY(); });
}

void BpbPanel::setLanguage(BpbLanguage language) {
    m_language = language;
    (language == BpbLanguage::English ? m_englishTab : m_chineseTab)->setChecked(true);
    m_stacks->setCurrentWidget(side(language).stack);
}

void BpbPanel::valuesAt(double x, const std::function<void(const QString& series, double value)>& sink) const {
    for (const Side* target : {&m_english, &m_chinese})
        for (std::size_t i = 0; i < target->cells.size(); ++i)
            for (const plots::CurveValue& value : target->stack->valuesAt(static_cast<int>(i), x))
                if (value.id.endsWith(target->cells[i].series()))
                    sink(value.id, value.value);
}

PlotStack* BpbPanel::stack(BpbLanguage language) const {
    return side(language).stack;
}

void BpbPanel::restyle() {
    m_header->setFixedHeight(32 * m_theme.textScale() / 100);
    m_title->setFont(m_theme.font(TextRole::PlotTitle));
    m_remark->setFont(m_theme.font(TextRole::Caption));
    for (QToolButton* tab : {m_englishTab, m_chineseTab})
        tab->setFont(m_theme.font(TextRole::TableText));
}

} // namespace telehelm::app
