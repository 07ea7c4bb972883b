// SPDX-License-Identifier: GPL-3.0-or-later
// The published models' bits per byte, tables 5 and 6 of the Tele-FLM report, out of resources/reference. Values, no widgets.
#pragma once

#include <vector>

#include <QString>

#include "plots/plot_types.h"
#include "telehelm/ipc/result.h"

namespace telehelm::app {

enum class BpbLanguage { English, Chinese };

/// One small plot: a domain of ours and the table's column of the same kind of text.
struct BpbCell {
    QString domain; // of ours; empty: the mixture-weighted mean
    QString column; // of the table; empty: nothing comparable
    [[nodiscard]] QString series() const { return domain.isEmpty() ? QStringLiteral("bpb") : QStringLiteral("bpb/") + domain; }
};

/// Cells for a run's domains; a domain that no column matches comes last, in English, without references.
[[nodiscard]] std::vector<BpbCell> bpbCells(BpbLanguage language, const std::vector<QString>& domains);

class ReferenceTables {
public:
    /// From the program's resources.
    [[nodiscard]] static Result<ReferenceTables> load();
    [[nodiscard]] static Result<ReferenceTables> parse(const QString& english, const QString& chinese);
    /// Lines of a column: Llama2, Llama3, Qwen1.5, Tele-FLM, with the dash of each.
    [[nodiscard]] std::vector<plots::ReferenceLine> bpb(BpbLanguage language, const QString& column) const;

private:
    struct Row {
        BpbLanguage language;
        QString model, column;
        double value;
    };
    std::vector<Row> m_rows;
};

} // namespace telehelm::app
