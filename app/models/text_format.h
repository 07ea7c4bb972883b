// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers and times as the window writes them (design.md, sections 6 and 14): units, thousands separators, a real minus sign.
#pragma once

#include <QString>

namespace telehelm::app::text {

[[nodiscard]] QString count(qint64 value);               // "44,310"
[[nodiscard]] QString counted(qint64 number, const QString& one, const QString& many); // "1 line", "3 lines"
[[nodiscard]] QString tokens(double value);              // "243.9 B", "341 M", "9.1 k"
[[nodiscard]] QString bytes(double value);               // "728 GB"
[[nodiscard]] QString duration(double seconds);          // "12 s", "6 min 40 s", "26 h 25 min", "57 d 16 h"
[[nodiscard]] QString fixed(double value, int decimals); // "−3.20"; "–" when not finite
[[nodiscard]] QString withSign(double value, int decimals); // "+1.69", "−3.20", "0.00"
[[nodiscard]] QString learningRate(double value);        // "1.471e-4"
[[nodiscard]] QString utcShort(qint64 us);               // "Nov 18 14:30"; "–" for 0
[[nodiscard]] QString utcLong(qint64 us);                // "2025-11-16 16:36:02 UTC"
[[nodiscard]] QString share(double fraction);            // 0.14 → "14.0 %"
[[nodiscard]] QString change(double before, double after); // "+24 %", "−1.2 %"; "" when it has no meaning

} // namespace telehelm::app::text
