// SPDX-License-Identifier: GPL-3.0-or-later
// One number of the bridge strip: label, value with unit, and a line under it (or a progress bar). GUI thread only.
#pragma once

#include <QFrame>

#include "models/run_metrics.h"
#include "theme/theme.h"

namespace telehelm::app {

class Readout : public QFrame {
    Q_OBJECT
public:
    enum class Severity { None, Warning, Critical };
    Readout(ThemeController& theme, QWidget* parent);
    void show(const ReadoutText& text, const ReadoutAge& age, Severity severity = Severity::None);
    [[nodiscard]] const ReadoutText& text() const { return m_text; }
    [[nodiscard]] QString subText() const; // with age
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override { return sizeHint(); }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    [[nodiscard]] int contentWidth() const;
    [[nodiscard]] QString spokenText() const;
    void restyle();
    ThemeController& m_theme;
    ReadoutText m_text;
    ReadoutAge m_age;
    Severity m_severity = Severity::None;
    int m_width = 0; // the widest so far: the strip does not wobble with the digits
};

} // namespace telehelm::app
