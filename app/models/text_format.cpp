// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/text_format.h"

#include <cmath>

#include <QDateTime>
#include <QLocale>
#include <QTimeZone>

namespace telehelm::app::text {

namespace {

const QChar kMinus(0x2212);
const QString kNone(QChar(0x2013));

QString scaled(double value, std::initializer_list<std::pair<double, const char*>> units) {
    for (const auto& [factor, unit] : units) {
        if (std::abs(value) >= factor * 0.9995) {
            const double shown = value / factor;
            return fixed(shown, factor >= 1e9 || (factor > 1 && std::abs(shown) < 9.95) ? 1 : 0) +
                   QLatin1Char(' ') + QLatin1String(unit);
        }
    }
    return fixed(value, 0);
}

} // namespace

QString counted(qint64 number, const QString& one, const QString& many) { return count(number) + QLatin1Char(' ') + (number == 1 ? one : many); }

QString count(qint64 value) {
    static const QLocale english(QLocale::English, QLocale::UnitedStates);
    QString shown = english.toString(value);
    return shown.replace(QLatin1Char('-'), kMinus);
}

QString tokens(double value) {
    return std::isfinite(value) ? scaled(value, {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}}) : kNone;
}

QString bytes(double value) {
    return std::isfinite(value) ? scaled(value, {{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1, "B"}}) : kNone;
}

QString duration(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) {
        return kNone;
    }
    const auto whole = static_cast<qint64>(std::llround(seconds));
    const qint64 days = whole / 86'400, hours = whole / 3600 % 24, minutes = whole / 60 % 60, rest = whole % 60;
    if (whole < 60) {
        return QStringLiteral("%1 s").arg(whole);
    }
    if (whole < 600 && rest != 0) {
        return QStringLiteral("%1 min %2 s").arg(minutes).arg(rest);
    }
    if (whole < 3600) {
        return QStringLiteral("%1 min").arg(minutes);
    }
    if (whole < 48 * 3600) {
        return QStringLiteral("%1 h %2 min").arg(whole / 3600).arg(minutes);
    }
    return QStringLiteral("%1 d %2 h").arg(days).arg(hours);
}

QString fixed(double value, int decimals) {
    if (!std::isfinite(value)) {
        return kNone;
    }
    QString shown = QString::number(value, 'f', decimals);
    if (shown.startsWith(QLatin1Char('-'))) {
        const bool zero = shown.toDouble() == 0;
        shown.remove(0, 1);
        return zero ? shown : kMinus + shown;
    }
    return shown;
}

QString withSign(double value, int decimals) {
    const QString shown = fixed(value, decimals);
    const bool positive = std::isfinite(value) && shown.toDouble() > 0;
    return positive ? QLatin1Char('+') + shown : shown;
}

QString learningRate(double value) {
    if (!std::isfinite(value)) {
        return kNone;
    }
    QString shown = QString::number(value, 'e', 3); // "1.471e-04"
    const auto e = shown.indexOf(QLatin1Char('e'));
    return e < 0 ? shown : shown.left(e + 1) + QString::number(shown.mid(e + 1).toInt());
}

QString utcShort(qint64 us) {
    return us <= 0 ? kNone : QLocale::c().toString(QDateTime::fromMSecsSinceEpoch(us / 1000, Qt::UTC), QStringLiteral("MMM dd HH:mm"));
}

QString utcLong(qint64 us) {
    return us <= 0 ? kNone : QDateTime::fromMSecsSinceEpoch(us / 1000, Qt::UTC).toString(QStringLiteral("yyyy-MM-dd HH:mm:ss")) + QStringLiteral(" UTC");
}

QString share(double fraction) { return fixed(fraction * 100, 1) + QStringLiteral(" %"); }

QString change(double before, double after) {
    if (!std::isfinite(before) || !std::isfinite(after) || before == 0) {
        return {};
    }
    const double percent = (after - before) / std::abs(before) * 100;
    return withSign(percent, std::abs(percent) >= 9.95 ? 0 : 1) + QStringLiteral(" %");
}

} // namespace telehelm::app::text
