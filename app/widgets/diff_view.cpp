// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/diff_view.h"

#include <algorithm>

#include <QTextBlock>

namespace telehelm::app {

DiffView::DiffView(ThemeController& theme, QWidget* parent) : QPlainTextEdit(parent), m_theme(theme) {
    setReadOnly(true);
    setLineWrapMode(QPlainTextEdit::NoWrap);
    setAccessibleName(tr("Config changes"));
    setTabChangesFocus(true);
    connect(&theme, &ThemeController::changed, this, &DiffView::restyle);
    restyle();
}

void DiffView::setLines(std::vector<DiffLine> lines) {
    if (lines == m_lines) {
        return;
    }
    m_lines = std::move(lines);
    QStringList shown;
    for (const auto& line : m_lines) {
        shown << (line.sign == QLatin1Char(' ') ? QStringLiteral("   ") + line.text : QString(line.sign) + QStringLiteral("    ") + line.text);
    }
    setPlainText(shown.join(QLatin1Char('\n')));
    restyle();
}

void DiffView::fitHeight(int most) {
    const int lines = std::max<int>(1, static_cast<int>(m_lines.size()));
    const int line = QFontMetrics(m_theme.font(TextRole::TableNumber)).lineSpacing() + 1;
    setFixedHeight(std::min(most, lines * line + 22));
}

void DiffView::restyle() {
    setFont(m_theme.font(TextRole::TableNumber));
    setStyleSheet(QStringLiteral("QPlainTextEdit { border: 1px solid %1; border-radius: 0; padding: 2px 0; }").arg(m_theme.theme().line.name()));
    QList<QTextEdit::ExtraSelection> selections;
    for (int i = 0; i < static_cast<int>(m_lines.size()); ++i) {
        const QChar sign = m_lines[static_cast<std::size_t>(i)].sign;
        QTextEdit::ExtraSelection selection;
        selection.cursor = QTextCursor(document()->findBlockByNumber(i));
        selection.format.setProperty(QTextFormat::FullWidthSelection, true);
        const Theme& colours = m_theme.theme();
        selection.format.setForeground(sign == QLatin1Char('+') ? colours.add : sign == QLatin1Char('-') ? colours.del : colours.tx2);
        if (sign != QLatin1Char(' ')) {
            selection.format.setBackground(sign == QLatin1Char('+') ? colours.addFill : colours.delFill);
        }
        // The whole line takes the text colour: a selection without extent would only colour the background.
        QTextCursor whole(selection.cursor);
        whole.select(QTextCursor::LineUnderCursor);
        QTextEdit::ExtraSelection words;
        words.cursor = whole;
        words.format.setForeground(selection.format.foreground());
        selections << selection << words;
    }
    setExtraSelections(selections);
}

} // namespace telehelm::app
