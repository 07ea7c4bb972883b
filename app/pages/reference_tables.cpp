// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/reference_tables.h"

#include <algorithm>
#include <array>

#include <QFile>

namespace telehelm::app {

namespace {

struct Match {
    const char* domain; // ends in "*": a prefix
    const char* column;
};

constexpr std::array kEnglish{Match{"WebText", "webtext"}, Match{"Code", "github"},         Match{"WorldKnowledge", "wikipedia"},
                              Match{"Book", "book"},       Match{"AcademicPaper", "arxiv"}, Match{"Profession-Math", "arxiv"},
                              Match{"QA", "stackexchange"}};
constexpr std::array kChinese{Match{"WebText", "webtext"},
                              Match{"Code", "code"},
                              Match{"Book", "book"},
                              Match{"WorldKnowledge", "world_knowledge"},
                              Match{"QA", "qa"},
                              Match{"ClassicalChinese", "classical_chinese"},
                              Match{"Profession-*", "professional"}};

/// Model of the table → short name and dash.
struct Model {
    const char* name;
    const char* label;
    int dash;
};
constexpr std::array kModels{Model{"Llama2-70B", "Llama2", 0}, Model{"Llama3-70B", "Llama3", 1},
                             Model{"Qwen1.5-72B", "Qwen1.5", 2}, Model{"Tele-FLM (52B)", "Tele-FLM", 3}};

bool fits(const Match& match, const QString& domain) {
    const QLatin1String pattern(match.domain);
    return pattern.endsWith(QLatin1Char('*')) ? domain.startsWith(pattern.chopped(1)) : domain == pattern;
}

template <std::size_t N>
void addMatches(std::vector<BpbCell>& cells, const std::array<Match, N>& matches, const std::vector<QString>& domains) {
    for (const Match& match : matches)
        for (const QString& domain : domains)
            if (fits(match, domain))
                cells.push_back({domain, QLatin1String(match.column)});
}

bool known(const QString& domain) {
    const auto fitsOne = [&](const Match& match) { return fits(match, domain); };
    return std::any_of(kEnglish.begin(), kEnglish.end(), fitsOne) || std::any_of(kChinese.begin(), kChinese.end(), fitsOne);
}

Result<QString> readResource(const QString& path) {
    QFile file(path);
    if (!file.open(QIODevice::ReadOnly | QIODevice::Text))
        return fail(ErrorCode::NotFound, file.errorString().toStdString(), path.toStdString());
    return QString::fromUtf8(file.readAll());
}

} // namespace

std::vector<BpbCell> bpbCells(BpbLanguage language, const std::vector<QString>& domains) {
    std::vector<BpbCell> cells;
    if (language == BpbLanguage::English) {
        addMatches(cells, kEnglish, domains);
        for (const QString& domain : domains)
            if (!known(domain))
                cells.push_back({domain, {}});
    } else {
        addMatches(cells, kChinese, domains);
        cells.push_back({{}, QStringLiteral("weighted_sum")});
    }
    if (cells.size() > 8)
        cells.resize(8);
    return cells;
}

Result<ReferenceTables> ReferenceTables::load() {
    const auto english = readResource(QStringLiteral(":/reference/table5_bpb_english.csv"));
    if (!english)
        return tl::unexpected<Error>(english.error());
    const auto chinese = readResource(QStringLiteral(":/reference/table6_bpb_chinese.csv"));
    if (!chinese)
        return tl::unexpected<Error>(chinese.error());
    return parse(*english, *chinese);
}

Result<ReferenceTables> ReferenceTables::parse(const QString& english, const QString& chinese) {
    ReferenceTables tables;
    for (const auto& [language, text] : {std::pair(BpbLanguage::English, english), std::pair(BpbLanguage::Chinese, chinese)}) {
        const QStringList lines = text.split(QLatin1Char('\n'), Qt::SkipEmptyParts);
        const QStringList columns = lines.value(0).trimmed().split(QLatin1Char(','));
        if (columns.value(0) != QLatin1String("measure") || columns.value(1) != QLatin1String("model"))
            return fail(ErrorCode::InvalidArgument, "the first line must begin with measure,model", "reference table");
        for (const QString& line : lines.mid(1)) {
            const QStringList cells = line.trimmed().split(QLatin1Char(','));
            if (cells.value(0) != QLatin1String("bpb"))
                continue;
            for (qsizetype i = 2; i < std::min(columns.size(), cells.size()); ++i) {
                bool ok = false;
                const double value = cells[i].toDouble(&ok);
                if (ok)
                    tables.m_rows.push_back({language, cells[1], columns[i], value});
            }
        }
    }
    return tables;
}

std::vector<plots::ReferenceLine> ReferenceTables::bpb(BpbLanguage language, const QString& column) const {
    std::vector<plots::ReferenceLine> lines;
    for (const Model& model : kModels)
        for (const Row& row : m_rows)
            if (row.language == language && row.column == column && row.model == QLatin1String(model.name))
                lines.push_back({QLatin1String(model.label), row.value, model.dash});
    return lines;
}

} // namespace telehelm::app
