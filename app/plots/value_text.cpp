// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/value_text.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <QCoreApplication>
#include <QDateTime>
#include <QLocale>
#include <QRegularExpression>
#include <QTimeZone>

namespace telehelm::app::plots {

namespace {

struct Suffix {
    double unit;
    const char* text;
};

QString fixed(double value, int decimals) {
    QString text = QString::number(value, 'f', std::clamp(decimals, 0, 9));
    return text.replace(QLatin1Char('-'), QChar(0x2212));
}

template <std::size_t N> QString withSuffix(double value, int decimals, const std::array<Suffix, N>& suffixes) {
    for (const Suffix& suffix : suffixes)
        if (std::abs(value) >= suffix.unit * (1 - 1e-12))
            return fixed(value / suffix.unit, decimals) + QLatin1String(suffix.text);
    return fixed(value, std::abs(value) == std::floor(std::abs(value)) ? 0 : decimals);
}

/// Decimals that tell two ticks apart.
int decimalsFor(double tickStep) {
    if (!(tickStep > 0))
        return 0;
    int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(tickStep) + 1e-9)));
    const double scaled = tickStep * std::pow(10.0, decimals);
    return std::abs(scaled - std::round(scaled)) > 1e-6 ? decimals + 1 : decimals;
}

double siUnit(double value) {
    const double magnitude = std::abs(value);
    for (double unit : {1e12, 1e9, 1e6, 1e3})
        if (magnitude >= unit * (1 - 1e-12))
            return unit;
    return 1;
}

QString timeTick(double us, double tickStep) {
    const QDateTime time = QDateTime::fromMSecsSinceEpoch(static_cast<qint64>(us / 1000), QTimeZone::utc());
    const QLocale locale = QLocale::c();
    if (tickStep < 60e6)
        return locale.toString(time, QStringLiteral("HH:mm:ss"));
    if (tickStep < 6 * 3600e6)
        return locale.toString(time, time.time().hour() == 0 && time.time().minute() == 0 ? QStringLiteral("MMM d")
                                                                                          : QStringLiteral("HH:mm"));
    return locale.toString(time, tickStep < 86400e6 ? QStringLiteral("MMM d HH:mm") : QStringLiteral("MMM d"));
}

std::optional<double> readNumber(QString text) {
    text = text.trimmed().remove(QLatin1Char(',')).remove(QLatin1Char(' '));
    double unit = 1;
    const QString suffixes = QStringLiteral("kMBT");
    if (const auto index = text.isEmpty() ? -1 : suffixes.indexOf(text.back()); index >= 0) {
        unit = std::pow(1000.0, static_cast<double>(index + 1));
        text.chop(1);
    }
    bool ok = false;
    const double number = text.toDouble(&ok);
    return ok ? std::optional(number * unit) : std::nullopt;
}

/// "Nov 16 05:00" in the year of `yearOf` (microseconds), UTC.
std::optional<double> readTime(const QString& text, double yearOf) {
    const int year = QDateTime::fromMSecsSinceEpoch(static_cast<qint64>(yearOf / 1000), QTimeZone::utc()).date().year();
    for (const char* format : {"yyyy MMM d HH:mm:ss", "yyyy MMM d HH:mm"}) {
        QDateTime time = QLocale::c().toDateTime(QStringLiteral("%1 %2").arg(year).arg(text.simplified()), QLatin1String(format));
        time.setTimeZone(QTimeZone::utc());
        if (time.isValid())
            return static_cast<double>(time.toMSecsSinceEpoch()) * 1000;
    }
    return std::nullopt;
}

} // namespace

QString groupedText(qint64 number) {
    static const QLocale locale(QLocale::English, QLocale::UnitedStates);
    return locale.toString(number).replace(QLatin1Char('-'), QChar(0x2212));
}

QString countText(double value, int decimals) {
    static constexpr std::array<Suffix, 3> kSuffixes{{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}}};
    return withSuffix(value, decimals, kSuffixes);
}

QString tokensText(double tokens, int decimals) {
    static constexpr std::array<Suffix, 4> kSuffixes{{{1e12, " T"}, {1e9, " B"}, {1e6, " M"}, {1e3, " k"}}};
    return withSuffix(tokens, decimals, kSuffixes);
}

QString valueText(ValueFormat format, double value) {
    if (std::isnan(value))
        return QStringLiteral("NaN");
    if (std::isinf(value))
        return value > 0 ? QStringLiteral("+Inf") : QStringLiteral("−Inf");
    switch (format) {
    case ValueFormat::Loss:
    case ValueFormat::GradNorm:
    case ValueFormat::Bpb:
        return fixed(value, 3);
    case ValueFormat::LearningRate: {
        if (value == 0)
            return QStringLiteral("0");
        const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-12));
        return QStringLiteral("%1e%2").arg(QString::number(value / std::pow(10.0, exponent), 'f', 3)).arg(exponent);
    }
    case ValueFormat::Count:
        return countText(value, 1);
    case ValueFormat::Percent:
        return fixed(value * 100, 1) + QStringLiteral(" %");
    }
    return {};
}

QString xText(XKind kind, double x) {
    switch (kind) {
    case XKind::Step:
        return QCoreApplication::translate("plots", "step %1").arg(groupedText(std::llround(x)));
    case XKind::Tokens:
        return QCoreApplication::translate("plots", "%1 tokens").arg(tokensText(x, 2));
    case XKind::WallTime:
        return QLocale::c().toString(QDateTime::fromMSecsSinceEpoch(static_cast<qint64>(x / 1000), QTimeZone::utc()),
                                     QStringLiteral("MMM d HH:mm:ss"));
    }
    return {};
}

QString spanText(XKind kind, double width) {
    if (kind == XKind::Step)
        return QCoreApplication::translate("plots", "%1 steps").arg(groupedText(std::llround(width)));
    if (kind == XKind::Tokens)
        return QCoreApplication::translate("plots", "%1 tokens").arg(tokensText(width, 1));
    const qint64 seconds = std::llround(width / 1e6);
    if (seconds < 60)
        return QCoreApplication::translate("plots", "%1 s").arg(seconds);
    if (seconds < 3600)
        return QCoreApplication::translate("plots", "%1 min %2 s").arg(seconds / 60).arg(seconds % 60);
    return QCoreApplication::translate("plots", "%1 h %2 min").arg(seconds / 3600).arg(seconds % 3600 / 60);
}

QString rangeText(XKind kind, double from, double to) {
    const auto one = [kind](double x) {
        if (kind == XKind::Step)
            return groupedText(std::llround(x));
        if (kind == XKind::Tokens)
            return tokensText(x, 2);
        return QLocale::c().toString(QDateTime::fromMSecsSinceEpoch(static_cast<qint64>(x / 1000), QTimeZone::utc()),
                                     QStringLiteral("MMM d HH:mm"));
    };
    return one(from) + QStringLiteral(" – ") + one(to);
}

std::optional<std::pair<double, double>> readRange(XKind kind, const QString& text, double yearOf) {
    static const QRegularExpression separator(QStringLiteral(R"(\s*(?:–|\.\.|\bto\b|\s-\s|(?<=[\dkMBT])-(?=\d))\s*)"));
    const QStringList parts = text.trimmed().split(separator, Qt::SkipEmptyParts);
    if (parts.size() != 2)
        return std::nullopt;
    const auto from = kind == XKind::WallTime ? readTime(parts[0], yearOf) : readNumber(parts[0]);
    const auto to = kind == XKind::WallTime ? readTime(parts[1], yearOf) : readNumber(parts[1]);
    if (!from || !to || !(*to > *from))
        return std::nullopt;
    return std::pair(*from, *to);
}

QString xTickText(XKind kind, double x, double tickStep) {
    if (kind == XKind::WallTime)
        return timeTick(x, tickStep);
    const double unit = siUnit(x);
    const int decimals = unit > 1 ? decimalsFor(tickStep / unit) : decimalsFor(tickStep);
    return kind == XKind::Tokens ? tokensText(x, decimals) : countText(x, decimals);
}

QString yTickText(ValueFormat format, double value, double tickStep) {
    switch (format) {
    case ValueFormat::Loss:
        return fixed(value, std::max(1, decimalsFor(tickStep)));
    case ValueFormat::Bpb:
    case ValueFormat::GradNorm:
        return fixed(value, std::max(2, decimalsFor(tickStep)));
    case ValueFormat::LearningRate:
        return fixed(value, decimalsFor(tickStep)); // the axis divides by a power of ten, which stands in the title
    case ValueFormat::Count:
        return countText(value, std::abs(value) >= 1e3 ? decimalsFor(tickStep / siUnit(value)) : decimalsFor(tickStep));
    case ValueFormat::Percent:
        return fixed(value * 100, decimalsFor(tickStep * 100)) + QStringLiteral(" %");
    }
    return {};
}

} // namespace telehelm::app::plots
