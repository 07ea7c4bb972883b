// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers as the plots write them (design.md, sections 6 and 14): one place for decimals, SI suffixes and separators.
#pragma once

#include <optional>
#include <utility>

#include <QString>

#include "plots/plot_types.h"

namespace telehelm::app::plots {

[[nodiscard]] QString groupedText(qint64 number);                  // "41,210", with a real minus sign
[[nodiscard]] QString valueText(ValueFormat format, double value); // readouts: "1.862", "1.471e-4", "366.0k", "44.9 %"
[[nodiscard]] QString countText(double value, int decimals);       // "30k", "1.25M": k, M, G from 1,000 up
[[nodiscard]] QString tokensText(double tokens, int decimals);     // "165 B", "1.2 T"
[[nodiscard]] QString xText(XKind kind, double x);                 // exact: "step 41,210", "165.3 B tokens", "Nov 16 05:00:12"

[[nodiscard]] QString spanText(XKind kind, double width);         // "120 steps", "245.8 k tokens", "4 min 2 s"

/// "29,500 – 44,500" and back; wall time as "Nov 16 05:00". Reading accepts "-", "–", "to", "..", k, M, B, T; nothing when it is
/// no range.
[[nodiscard]] QString rangeText(XKind kind, double from, double to);
[[nodiscard]] std::optional<std::pair<double, double>> readRange(XKind kind, const QString& text, double yearOf);

/// Labels of ticks that stand `tickStep` apart.
[[nodiscard]] QString xTickText(XKind kind, double x, double tickStep);
[[nodiscard]] QString yTickText(ValueFormat format, double value, double tickStep);

} // namespace telehelm::app::plots
