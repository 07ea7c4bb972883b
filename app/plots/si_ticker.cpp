// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/si_ticker.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace telehelm::app::plots {

namespace {

constexpr double kSecondUs = 1e6, kMinuteUs = 60e6, kHourUs = 3600e6, kDayUs = 86400e6;
constexpr std::array kTimeSteps{kSecondUs / 10, kSecondUs / 2,  kSecondUs,  2 * kSecondUs, 5 * kSecondUs, 10 * kSecondUs,
                                15 * kSecondUs, 30 * kSecondUs, kMinuteUs,  2 * kMinuteUs, 5 * kMinuteUs, 10 * kMinuteUs,
                                15 * kMinuteUs, 30 * kMinuteUs, kHourUs,    2 * kHourUs,   3 * kHourUs,   6 * kHourUs,
                                12 * kHourUs,   kDayUs,         2 * kDayUs, 5 * kDayUs,    10 * kDayUs,   30 * kDayUs};

} // namespace

double SiTicker::getTickStep(const QCPRange& range) {
    if (!m_time) {
        m_step = QCPAxisTicker::getTickStep(range);
        return m_step = m_whole && m_step != std::floor(m_step) ? std::max(1.0, std::floor(m_step)) : m_step;
    }
    const double wanted = range.size() / std::max(1, tickCount());
    for (double step : kTimeSteps)
        if (step >= wanted)
            return m_step = step;
    return m_step = std::ceil(wanted / kDayUs) * kDayUs;
}

QVector<double> SiTicker::createTickVector(double tickStep, const QCPRange& range) {
    QVector<double> ticks = m_log ? logTicks(range) : QCPAxisTicker::createTickVector(tickStep, range);
    const double highest =
        m_log ? range.upper * std::pow(range.lower / range.upper, m_topRoom) : range.upper - m_topRoom * range.size();
    if (m_topRoom > 0)
        ticks.erase(std::remove_if(ticks.begin(), ticks.end(), [highest](double tick) { return tick > highest; }), ticks.end());
    return ticks;
}

/// The densest of a few sets of mantissas that keeps to the wanted number of ticks; linear ticks within less than a factor of
/// two.
QVector<double> SiTicker::logTicks(const QCPRange& range) {
    if (!(range.lower > 0) || range.upper / range.lower < 1.8) {
        m_step = QCPAxisTicker::getTickStep(range);
        return QCPAxisTicker::createTickVector(m_step, range);
    }
    static const std::array<std::vector<double>, 5> kSets{{{1, 1.5, 2, 3, 4, 5, 7}, {1, 2, 3, 5, 7}, {1, 2, 5}, {1, 3}, {1}}};
    const int low = static_cast<int>(std::floor(std::log10(range.lower))),
              high = static_cast<int>(std::ceil(std::log10(range.upper)));
    QVector<double> ticks;
    for (const auto& mantissas : kSets) {
        ticks.clear();
        for (int exponent = low; exponent <= high; ++exponent)
            for (double mantissa : mantissas)
                if (const double tick = mantissa * std::pow(10.0, exponent); tick >= range.lower && tick <= range.upper)
                    ticks.push_back(tick);
        if (ticks.size() <= tickCount() + 2)
            break;
    }
    m_step = 0; // labels then show what each tick needs
    return ticks;
}

QString SiTicker::getTickLabel(double tick, const QLocale&, QChar, int) {
    double step = m_step;
    if (step == 0) {
        const double magnitude = std::pow(10.0, std::floor(std::log10(std::abs(tick)) + 1e-9));
        step = std::abs(tick / magnitude - std::round(tick / magnitude)) > 1e-6 ? magnitude / 10 : magnitude;
    }
    return m_label(tick / m_unit, step / m_unit);
}

} // namespace telehelm::app::plots
