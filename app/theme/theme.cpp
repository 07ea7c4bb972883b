// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme/theme.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <QApplication>
#include <QEvent>
#include <QFile>
#include <QJsonDocument>
#include <QJsonObject>
#include <QRegularExpression>
#include <QStyleFactory>

#include "theme/telehelm_style.h"
#include "theme/tinted_icon_engine.h"

static void initThemeResources() { Q_INIT_RESOURCE(telehelm); }

namespace telehelm::app {
namespace {

using Tokens = std::vector<std::pair<const char*, QColor*>>;

/// Every token of tokens.json with the member that holds it: the one list for reading and for filling the style sheet.
Tokens tokensOf(Theme& t) {
    return {{"window", &t.window},         {"panel", &t.panel},       {"raised", &t.raised},
            {"inset", &t.inset},           {"hover", &t.hover},       {"rowAlt", &t.rowAlt},
            {"line", &t.line},             {"line2", &t.line2},       {"ctl", &t.ctl},
            {"tx", &t.tx},                 {"tx2", &t.tx2},           {"tx3", &t.tx3},
            {"txDis", &t.txDis},           {"accent", &t.accent},     {"accentFill", &t.accentFill},
            {"accentTx", &t.accentTx},     {"plot", &t.plot},         {"grid", &t.grid},
            {"axis", &t.axis},             {"crit", &t.crit},         {"critFill", &t.critFill},
            {"critSolid", &t.critSolid},   {"warn", &t.warn},         {"warnFill", &t.warnFill},
            {"info", &t.info},             {"infoFill", &t.infoFill}, {"ok", &t.ok},
            {"okFill", &t.okFill},         {"onSolid", &t.onSolid},   {"add", &t.add},
            {"addFill", &t.addFill},       {"del", &t.del},           {"delFill", &t.delFill},
            {"scrim", &t.scrim},           {"s1", &t.slots_[0]},      {"s2", &t.slots_[1]},
            {"s3", &t.slots_[2]},          {"s4", &t.slots_[3]},      {"s5", &t.slots_[4]},
            {"s6", &t.slots_[5]},          {"s7", &t.slots_[6]},      {"s8", &t.slots_[7]},
            {"h0", &t.heat[0]},            {"h1", &t.heat[1]},        {"h2", &t.heat[2]},
            {"h3", &t.heat[3]},            {"h4", &t.heat[4]},        {"h5", &t.heat[5]}};
}

/// "#RRGGBB" or "rgba(r,g,b,0.62)".
QColor parseColour(const QString& text) {
    static const QRegularExpression rgba(QStringLiteral(R"(^rgba\((\d+),\s*(\d+),\s*(\d+),\s*([\d.]+)\)$)"));
    if (const auto match = rgba.match(text); match.hasMatch()) {
        QColor colour(match.captured(1).toInt(), match.captured(2).toInt(), match.captured(3).toInt());
        colour.setAlphaF(match.captured(4).toFloat());
        return colour;
    }
    return QColor(text);
}

QString cssColour(const QColor& c) {
    if (c.alpha() == 255)
        return c.name(QColor::HexRgb);
    return QStringLiteral("rgba(%1,%2,%3,%4)").arg(c.red()).arg(c.green()).arg(c.blue()).arg(c.alpha());
}

QByteArray readResource(const char* path) {
    QFile file(QString::fromLatin1(path));
    if (!file.open(QIODevice::ReadOnly))
        qFatal("resource %s is missing from the program", path);
    return file.readAll();
}

bool desktopIsDark() {
    // The palette before ours was set is gone; the platform's standard palette still tells.
    const QPalette palette = qApp != nullptr && QApplication::style() != nullptr ? QApplication::style()->standardPalette() : QPalette();
    return palette.color(QPalette::Window).lightness() < 128;
}

struct RoleSpec {
    const char* family;
    double pixels;
    QFont::Weight weight;
};

RoleSpec specOf(TextRole role) {
    switch (role) {
    case TextRole::Readout: return {"JetBrains Mono", 17, QFont::Medium};
    case TextRole::WindowTitle: return {"Inter", 16, QFont::DemiBold};
    case TextRole::Section: return {"Inter", 13, QFont::DemiBold};
    case TextRole::Body: return {"Inter", 12.5, QFont::Normal};
    case TextRole::TableText: return {"Inter", 12, QFont::Normal};
    case TextRole::TableNumber: return {"JetBrains Mono", 11.5, QFont::Normal};
    case TextRole::PlotTitle: return {"Inter", 12, QFont::DemiBold};
    case TextRole::Caption: return {"Inter", 11, QFont::Normal};
    case TextRole::CaptionNumber: return {"JetBrains Mono", 11, QFont::Normal};
    }
    return {"Inter", 12.5, QFont::Normal};
}

QPalette paletteOf(const Theme& t) {
    QPalette p;
    p.setColor(QPalette::Window, t.panel);
    p.setColor(QPalette::WindowText, t.tx);
    p.setColor(QPalette::Base, t.inset);
    p.setColor(QPalette::AlternateBase, t.rowAlt);
    p.setColor(QPalette::Text, t.tx);
    p.setColor(QPalette::PlaceholderText, t.tx3);
    p.setColor(QPalette::Button, t.raised);
    p.setColor(QPalette::ButtonText, t.tx);
    p.setColor(QPalette::BrightText, t.onSolid);
    p.setColor(QPalette::Highlight, t.accentFill);
    p.setColor(QPalette::HighlightedText, t.accentTx);
    p.setColor(QPalette::Link, t.accent);
    p.setColor(QPalette::LinkVisited, t.accent);
    p.setColor(QPalette::ToolTipBase, t.raised);
    p.setColor(QPalette::ToolTipText, t.tx);
    p.setColor(QPalette::Light, t.line);
    p.setColor(QPalette::Midlight, t.line);
    p.setColor(QPalette::Mid, t.line2);
    p.setColor(QPalette::Dark, t.line);
    p.setColor(QPalette::Shadow, t.line);
    for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText, QPalette::HighlightedText})
        p.setColor(QPalette::Disabled, role, t.txDis);
    return p;
}

} // namespace

Theme readTheme(const QByteArray& tokensJson, bool dark, QStringList& problems) {
    Theme theme;
    theme.dark = dark;
    QJsonParseError parse;
    const auto root = QJsonDocument::fromJson(tokensJson, &parse).object();
    if (parse.error != QJsonParseError::NoError) {
        problems << QStringLiteral("tokens.json, byte %1: %2").arg(parse.offset).arg(parse.errorString());
        return theme;
    }
    const QString which = dark ? QStringLiteral("dark") : QStringLiteral("light");
    const auto values = root.value(which).toObject();
    QStringList known;
    for (auto& [name, colour] : tokensOf(theme)) {
        known << QLatin1String(name);
        *colour = parseColour(values.value(QLatin1String(name)).toString());
        if (!colour->isValid())
            problems << QStringLiteral("tokens.json: %1.%2 is missing or no colour").arg(which, QLatin1String(name));
    }
    for (const auto& key : values.keys())
        if (!known.contains(key))
            problems << QStringLiteral("tokens.json: %1.%2 is not used by the program").arg(which, key);
    return theme;
}

QString fillStyleSheet(QString text, const Theme& theme, QStringList& problems) {
    Theme copy = theme;
    auto tokens = tokensOf(copy);
    // Longest name first, so that @tx does not eat the start of @tx2.
    std::sort(tokens.begin(), tokens.end(),
              [](const auto& a, const auto& b) { return qstrlen(a.first) > qstrlen(b.first); });
    for (const auto& [name, colour] : tokens)
        text.replace(QStringLiteral("@") + QLatin1String(name), cssColour(*colour));
    static const QRegularExpression left(QStringLiteral("@[A-Za-z0-9]+"));
    for (auto it = left.globalMatch(text); it.hasNext();)
        problems << QStringLiteral("telehelm.qss: unknown token %1").arg(it.next().captured(0));
    return text;
}

ThemeController::ThemeController(QObject* parent) : QObject(parent) {
    initThemeResources();
    load();
}

void ThemeController::load() {
    const bool dark = m_choice == ThemeChoice::Dark || (m_choice == ThemeChoice::System && desktopIsDark());
    QStringList problems;
    m_theme = readTheme(readResource(":/themes/tokens.json"), dark, problems);
    for (const auto& problem : std::as_const(problems))
        qWarning("%s", qUtf8Printable(problem));
}

void ThemeController::setChoice(ThemeChoice choice) {
    if (m_choice == choice)
        return;
    m_choice = choice;
    if (qApp != nullptr) {
        qApp->removeEventFilter(this);
        if (choice == ThemeChoice::System)
            qApp->installEventFilter(this);
    }
    load();
    emit changed();
}

void ThemeController::setTextScale(int percent) {
    const int allowed = percent >= 150 ? 150 : percent >= 125 ? 125 : percent >= 112 ? 112 : 100;
    if (m_textScale == allowed)
        return;
    m_textScale = allowed;
    emit changed();
}

QFont ThemeController::font(TextRole role) const {
    const auto spec = specOf(role);
    QFont font;
    const auto second = qstrcmp(spec.family, "Inter") == 0 ? QStringLiteral("DejaVu Sans") : QStringLiteral("DejaVu Sans Mono");
    font.setFamilies({QLatin1String(spec.family), QStringLiteral("Noto Sans CJK SC"), second});
    font.setStyleHint(qstrcmp(spec.family, "Inter") == 0 ? QFont::SansSerif : QFont::Monospace);
    font.setHintingPreference(QFont::PreferNoHinting); // fractional advances: the design's widths
    font.setWeight(spec.weight);
    // Qt draws whole pixel sizes only: 12.5 and 11.5 are taken down, so that no text is wider than designed.
    font.setPixelSize(std::max(11, static_cast<int>(std::ceil(spec.pixels * m_textScale / 100.0 - 0.5))));
    return font;
}

QIcon ThemeController::icon(const char* name) const {
    return QIcon(new TintedIconEngine(iconSource(name), {m_theme.tx2, m_theme.txDis, m_theme.accentTx}));
}

QIcon ThemeController::icon(const char* name, const QColor& colour) const {
    return QIcon(new TintedIconEngine(iconSource(name), {colour, m_theme.txDis, colour}));
}

QIcon ThemeController::severityIcon(SeverityShape shape) const {
    const auto make = [](const QByteArray& svg, const QColor& c) { return QIcon(new TintedIconEngine(svg, {c, c, c})); };
    switch (shape) {
    case SeverityShape::Critical: return make(filledShape(iconSource("crit"), m_theme.panel), m_theme.crit);
    case SeverityShape::Warning: return make(filledShape(iconSource("warn"), m_theme.panel), m_theme.warn);
    case SeverityShape::Note: return make(iconSource("info"), m_theme.info);
    case SeverityShape::Benign: break;
    }
    return make(iconSource("ok"), m_theme.ok);
}

void ThemeController::apply(QApplication& application) const {
    if (qobject_cast<TelehelmStyle*>(QApplication::style()) == nullptr)
        QApplication::setStyle(new TelehelmStyle(*this)); // owned by the application from here on
    application.setFont(font(TextRole::Body));
    QApplication::setPalette(paletteOf(m_theme));
    QStringList problems;
    application.setStyleSheet(fillStyleSheet(QString::fromUtf8(readResource(":/themes/telehelm.qss")), m_theme, problems));
    for (const auto& problem : std::as_const(problems))
        qWarning("%s", qUtf8Printable(problem));
}

bool ThemeController::eventFilter(QObject* watched, QEvent* event) {
    if (event->type() == QEvent::ThemeChange && m_choice == ThemeChoice::System && m_theme.dark != desktopIsDark()) {
        load();
        emit changed();
    }
    return QObject::eventFilter(watched, event);
}

} // namespace telehelm::app
