// SPDX-License-Identifier: GPL-3.0-or-later
// The ranges of one plot in numbers. GUI thread only.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "dialogs/scrim.h"

class QCheckBox;
class QLabel;
class QLineEdit;
class QPushButton;

namespace telehelm::app {

struct PlotRanges {
    QString x;                                  // "29,500 – 44,500", as the plot writes it
    std::pair<double, double> y;
    bool automaticY = true, positiveY = false;  // positive: a log axis
};

class RangeDialog : public ScrimDialog {
    Q_OBJECT
public:
    using Readable = std::function<bool(const QString& x)>;
    /// x as entered, and y, or nothing for an automatic y.
    using Apply = std::function<void(const QString& x, std::optional<std::pair<double, double>> y)>;
    RangeDialog(ThemeController& theme, const QString& plot, const PlotRanges& ranges, Readable readable, Apply apply);
    [[nodiscard]] QSize wantedSize() const override { return {440, sizeHint().height()}; }

protected:
    void done(int result) override;

private:
    void refresh();
    [[nodiscard]] QString missing() const;
    const bool m_positiveY;
    QLineEdit *m_x, *m_low, *m_high;
    QCheckBox* m_automatic;
    QLabel* m_missing;
    QPushButton* m_set;
    Readable m_readable;
    Apply m_apply;
};

/// Opens it over the window of `parent`, unless another dialog is open.
void openRangeDialog(QWidget* parent, ThemeController& theme, const QString& plot, const PlotRanges& ranges, RangeDialog::Readable readable,
                     RangeDialog::Apply apply);

} // namespace telehelm::app
