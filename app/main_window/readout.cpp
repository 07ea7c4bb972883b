// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/readout.h"

#include <algorithm>

#include <QPainter>
#include <QStyle>

#include "models/text_format.h"

namespace telehelm::app {
namespace {
constexpr int kPadding = 12, kIcon = 13, kIconGap = 5, kUnitGap = 3, kBarWidth = 136;
constexpr int kLabelY = 16, kValueY = 33, kSubY = 51; // middle of each line in the strip's 66 px
} // namespace

Readout::Readout(ThemeController& theme, QWidget* parent) : QFrame(parent), m_theme(theme) {
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Expanding);
    setProperty("severity", QStringLiteral("none"));
    connect(&theme, &ThemeController::changed, this, &Readout::restyle);
}

void Readout::restyle() {
    m_width = 0;
    updateGeometry();
    update();
}

void Readout::show(const ReadoutText& text, const ReadoutAge& age, Severity severity) {
    const bool aged = m_age.age != age.age || static_cast<int>(m_age.seconds) != static_cast<int>(age.seconds);
    if (text == m_text && !(age.age != Age::Fresh && aged) && m_age.age == age.age && severity == m_severity)
        return;
    m_text = text;
    m_age = age;
    m_severity = severity;
    static const char* const kNames[] = {"none", "warn", "crit"};
    setProperty("severity", QString::fromLatin1(kNames[static_cast<int>(severity)]));
    setAccessibleName(spokenText());
    if (contentWidth() > m_width) {
        m_width = contentWidth();
        updateGeometry();
    }
    update();
}

QString Readout::spokenText() const {
    QStringList parts{m_text.label, (m_text.value + QLatin1Char(' ') + m_text.unit).trimmed()};
    if (m_severity != Severity::None)
        parts << (m_severity == Severity::Critical ? tr("critical") : tr("warning"));
    if (!subText().isEmpty())
        parts << subText();
    return parts.join(QStringLiteral(", "));
}

QString Readout::subText() const {
    return m_age.age == Age::Fresh ? m_text.sub : tr("%1 old").arg(text::duration(m_age.seconds));
}

int Readout::contentWidth() const {
    const QFontMetrics caption(m_theme.font(TextRole::Caption)), value(m_theme.font(TextRole::Readout));
    const int icon = m_severity == Severity::None ? 0 : kIcon + kIconGap;
    const int values = value.horizontalAdvance(m_text.value) + (m_text.unit.isEmpty() ? 0 : kUnitGap + caption.horizontalAdvance(m_text.unit));
    const int bar = m_text.progress >= 0 ? kBarWidth : 0;
    return std::max({icon + caption.horizontalAdvance(m_text.label), values, caption.horizontalAdvance(subText()), bar}) + 2 * kPadding + 1;
}

QSize Readout::sizeHint() const { return {std::max({m_width, contentWidth(), 76}), 66}; }

void Readout::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const auto& t = m_theme.theme();
    const QColor deviation = m_severity == Severity::Critical ? t.crit : t.warn;
    const bool lit = m_severity != Severity::None, grey = m_age.age == Age::Stale;
    painter.fillRect(QRect(width() - 1, 0, 1, height()), t.line);
    int x = kPadding;
    if (lit) {
        const auto shape = m_severity == Severity::Critical ? ThemeController::SeverityShape::Critical : ThemeController::SeverityShape::Warning;
        m_theme.severityIcon(shape).paint(&painter, QRect(x, kLabelY - kIcon / 2 - 1, kIcon, kIcon));
        x += kIcon + kIconGap;
        painter.fillRect(QRect(0, height() - 3, width() - 1, 2), deviation);
    }
    const auto line = [&](int left, int middle, TextRole role, const QColor& colour, const QString& text) {
        painter.setFont(m_theme.font(role));
        painter.setPen(colour);
        painter.drawText(QRect(left, middle - 12, width() - left, 24), Qt::AlignLeft | Qt::AlignVCenter | Qt::TextSingleLine, text);
    };
    line(x, kLabelY, TextRole::Caption, t.tx2, m_text.label);
    line(kPadding, kValueY, TextRole::Readout, grey ? t.tx3 : lit ? deviation : t.tx, m_text.value);
    const int unitX = kPadding + QFontMetrics(m_theme.font(TextRole::Readout)).horizontalAdvance(m_text.value) + kUnitGap;
    line(unitX, kValueY + 2, TextRole::Caption, t.tx3, m_text.unit);
    if (m_text.progress < 0 || m_age.age != Age::Fresh) {
        line(kPadding, kSubY, TextRole::Caption, lit && !grey ? deviation : t.tx2, subText());
        return;
    }
    const QRectF bar(kPadding, kSubY - 1, width() - 2 * kPadding - 1, 3);
    painter.fillRect(bar, t.line2);
    painter.fillRect(QRectF(bar.left(), bar.top(), bar.width() * m_text.progress, bar.height()), t.tx2);
}

} // namespace telehelm::app
