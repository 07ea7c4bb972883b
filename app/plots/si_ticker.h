// SPDX-License-Identifier: GPL-3.0-or-later
// Ticks of the x and y axes: round steps, round times, 1-2-5 on log axes, labels from value_text.
#pragma once

#include <functional>

#include <qcustomplot.h>

namespace telehelm::app::plots {

class SiTicker : public QCPAxisTicker {
public:
    using Label = std::function<QString(double value, double tickStep)>;
    explicit SiTicker(Label label) : m_label(std::move(label)) {}

    void setLabel(Label label) { m_label = std::move(label); }
    void setTimeAxis(bool on) { m_time = on; } // values are microseconds
    void setLog(bool on) { m_log = on; }
    void setWhole(bool on) { m_whole = on; } // steps are whole numbers
    /// Ticks within this share of the top are left out: their labels would run into the title above.
    void setTopRoom(double share) { m_topRoom = share; }
    [[nodiscard]] double topRoom() const { return m_topRoom; }
    void setUnit(double unit) { m_unit = unit; }

protected:
    double getTickStep(const QCPRange& range) override;
    QVector<double> createTickVector(double tickStep, const QCPRange& range) override;
    int getSubTickCount(double) override { return 0; }
    QString getTickLabel(double tick, const QLocale&, QChar, int) override;

private:
    [[nodiscard]] QVector<double> logTicks(const QCPRange& range);
    Label m_label;
    bool m_time = false;
    bool m_log = false;
    bool m_whole = false;
    double m_topRoom = 0;
    double m_unit = 1;
    double m_step = 1; // of the last vector, for the labels' decimals
};

} // namespace telehelm::app::plots
