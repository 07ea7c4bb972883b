// SPDX-License-Identifier: GPL-3.0-or-later
// Colours, fonts and icons of both themes, from resources/themes/tokens.json (design.md, sections 4, 5 and 7). GUI thread only.
#pragma once

#include <array>

#include <QColor>
#include <QFont>
#include <QIcon>
#include <QObject>
#include <QStringList>

class QApplication;

namespace telehelm::app {

/// The tokens by their names in tokens.json.
struct Theme {
    bool dark = true;
    QColor window, panel, raised, inset, hover, rowAlt, line, line2, ctl, tx, tx2, tx3, txDis, accent, accentFill, accentTx, plot,
        grid, axis, crit, critFill, critSolid, warn, warnFill, info, infoFill, ok, okFill, onSolid, add, addFill, del, delFill, scrim;
    std::array<QColor, 8> slots_; // s1 … s8, the colour of a run
    std::array<QColor, 6> heat;   // h0 … h5

    [[nodiscard]] const QColor& slot(int index) const { return slots_[static_cast<std::size_t>(index) % slots_.size()]; }
};

enum class TextRole { Readout, WindowTitle, Section, Body, TableText, TableNumber, PlotTitle, Caption, CaptionNumber };
enum class ThemeChoice { Dark, Light, System };

/// Owned by main(), passed by reference to whatever paints.
class ThemeController : public QObject {
    Q_OBJECT
public:
    explicit ThemeController(QObject* parent = nullptr);
    [[nodiscard]] const Theme& theme() const { return m_theme; }
    void setChoice(ThemeChoice choice);
    [[nodiscard]] ThemeChoice choice() const { return m_choice; }
    void setTextScale(int percent); // 100, 112, 125, 150
    [[nodiscard]] int textScale() const { return m_textScale; }
    /// Inter or JetBrains Mono with the sizes of the design; falls back to what fontconfig offers.
    [[nodiscard]] QFont font(TextRole role) const;
    [[nodiscard]] QIcon icon(const char* name) const; // "pause" → resources/icons/pause.svg, drawn in the text colour
    [[nodiscard]] QIcon icon(const char* name, const QColor& colour) const;
    enum class SeverityShape { Critical, Warning, Note, Benign };
    /// The design's severity shapes: filled octagon, filled triangle, open circle i, open circle ✓, in their colours.
    [[nodiscard]] QIcon severityIcon(SeverityShape shape) const;
    /// Palette + QSS for the whole application; call again after changed().
    void apply(QApplication& application) const;

signals:
    void changed();

protected:
    bool eventFilter(QObject* watched, QEvent* event) override; // follows the desktop's palette while the choice is System

private:
    void load();
    Theme m_theme;
    ThemeChoice m_choice = ThemeChoice::Dark;
    int m_textScale = 100;
};

/// Reads one theme ("dark" or "light") from the text of tokens.json. Missing or unreadable tokens are named in `problems`.
[[nodiscard]] Theme readTheme(const QByteArray& tokensJson, bool dark, QStringList& problems);
/// The style sheet with every @token replaced by its colour; a token that does not exist stays and is named in `problems`.
[[nodiscard]] QString fillStyleSheet(QString text, const Theme& theme, QStringList& problems);

} // namespace telehelm::app
