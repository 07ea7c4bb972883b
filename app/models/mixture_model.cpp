// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/mixture_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "models/text_format.h"

namespace telehelm::app {

namespace {

/// Passes over a domain: two decimals while they matter.
QString epochsText(double epochs) { return epochs >= 1000 ? text::count(std::llround(epochs)) : text::fixed(epochs, 2); }

QString percentText(qint64 hundredthsOfPercent) { return text::fixed(double(hundredthsOfPercent) / 100.0, 2); }

} // namespace

std::vector<qint64> hundredths(const std::vector<double>& shares, qint64 whole) {
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    std::vector<qint64> parts(shares.size(), 0);
    if (shares.empty() || sum <= 0 || whole <= 0) {
        return parts;
    }
    std::vector<double> rest(shares.size());
    for (std::size_t i = 0; i < shares.size(); ++i) {
        const double exact = shares[i] / sum * double(whole);
        parts[i] = static_cast<qint64>(std::floor(exact + 1e-9));
        rest[i] = exact - double(parts[i]);
    }
    std::vector<std::size_t> order(shares.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rest[a] > rest[b]; });
    qint64 missing = whole - std::accumulate(parts.begin(), parts.end(), qint64{0});
    for (std::size_t i = 0; missing > 0; i = (i + 1) % order.size(), --missing) {
        ++parts[order[i]];
    }
    return parts;
}

MixtureModel::MixtureModel(QObject* parent) : QAbstractTableModel(parent) {}

void MixtureModel::setRun(const ipc::RunInfo& run, qint64 applyStep) {
    std::vector<double> shares;
    for (const auto& domain : run.domains) {
        shares.push_back(domain.target);
    }
    const auto parts = hundredths(shares);
    const bool same = run.run == m_run && run.domains.size() == m_rows.size() &&
                      std::equal(m_rows.begin(), m_rows.end(), run.domains.begin(), [](const Row& row, const auto& info) { return row.info.name == info.name; });
    m_step = run.newest() != nullptr ? run.newest()->step : 0;
    m_tokens = run.newest() != nullptr ? run.newest()->tokens : 0;
    m_totalTokens = run.totalTokens;
    m_tokensPerStep = run.tokensPerStep;
    m_applyStep = applyStep;
    if (!same) {
        beginResetModel();
        m_run = run.run;
        m_rows.clear();
        for (std::size_t i = 0; i < run.domains.size(); ++i) {
            m_rows.push_back({run.domains[i], parts[i], parts[i], false});
        }
        endResetModel();
    } else {
        for (std::size_t i = 0; i < m_rows.size(); ++i) {
            const bool untouched = m_rows[i].draft == m_rows[i].current;
            m_rows[i].info = run.domains[i];
            m_rows[i].current = parts[i];
            m_rows[i].draft = untouched ? parts[i] : m_rows[i].draft;
        }
    }
    draftTouched();
}

void MixtureModel::setApplyStep(qint64 step) {
    m_applyStep = step;
    draftTouched();
}

void MixtureModel::clear() {
    beginResetModel();
    m_rows.clear();
    m_run.clear();
    endResetModel();
    emit draftChanged();
}

void MixtureModel::draftTouched() {
    if (!m_rows.empty()) {
        emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1));
    }
    emit draftChanged();
}

qint64 MixtureModel::total() const {
    return std::accumulate(m_rows.begin(), m_rows.end(), qint64{0}, [](qint64 sum, const Row& row) { return sum + row.draft; });
}

qint64 MixtureModel::tokensSeen() const {
    return std::accumulate(m_rows.begin(), m_rows.end(), qint64{0}, [](qint64 sum, const Row& row) { return sum + row.info.tokensSeen; });
}

bool MixtureModel::isChanged() const {
    return std::any_of(m_rows.begin(), m_rows.end(), [](const Row& row) { return row.draft != row.current; });
}

ipc::Mixture MixtureModel::draft() const {
    ipc::Mixture shares;
    for (const auto& row : m_rows) {
        shares[row.info.name] = double(row.draft) / double(kWholeMixture);
    }
    return shares;
}

ipc::Mixture MixtureModel::current() const {
    ipc::Mixture shares;
    for (const auto& row : m_rows) {
        shares[row.info.name] = double(row.current) / double(kWholeMixture);
    }
    return shares;
}

double MixtureModel::tokensAtApply() const { return double(m_tokens) + double(std::max<qint64>(0, m_applyStep - 1 - m_step) * m_tokensPerStep); }

double MixtureModel::epochsDone(int row) const {
    const auto& info = domain(row);
    return info.trainTokens > 0 ? double(info.tokensSeen) / double(info.trainTokens) : std::numeric_limits<double>::quiet_NaN();
}

double MixtureModel::epochsAtEnd(int rowNumber, bool withDraft) const {
    const auto& row = m_rows[static_cast<std::size_t>(rowNumber)];
    if (row.info.trainTokens <= 0 || m_totalTokens <= 0) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    const double until = std::min(tokensAtApply(), double(m_totalTokens));
    const double soon = std::max(0.0, until - double(m_tokens)) * double(row.current);
    const double later = std::max(0.0, double(m_totalTokens) - until) * double(withDraft ? row.draft : row.current);
    return (double(row.info.tokensSeen) + (soon + later) / double(kWholeMixture)) / double(row.info.trainTokens);
}

void MixtureModel::setDraft(const ipc::Mixture& mixture) {
    for (auto& row : m_rows) {
        const auto found = mixture.find(row.info.name);
        row.draft = found == mixture.end() ? row.current : std::llround(found->second * double(kWholeMixture));
    }
    draftTouched();
}

void MixtureModel::setLocked(int row, bool locked) {
    m_rows[static_cast<std::size_t>(row)].locked = locked;
    draftTouched();
}

void MixtureModel::lockChanged() {
    for (auto& row : m_rows) {
        row.locked = row.locked || row.draft != row.current;
    }
    draftTouched();
}

void MixtureModel::resetToCurrent() {
    for (auto& row : m_rows) {
        row.draft = row.current;
        row.locked = false;
    }
    draftTouched();
}

bool MixtureModel::normalise(QString* why) {
    std::vector<double> open;
    qint64 locked = 0;
    for (const auto& row : m_rows) {
        if (row.locked) {
            locked += row.draft;
        } else {
            open.push_back(double(row.draft));
        }
    }
    const qint64 room = kWholeMixture - locked;
    if (room < 0 || (open.empty() && room != 0)) {
        if (why != nullptr) {
            *why = room < 0 ? tr("The locked rows alone add up to %1 %. Unlock or lower one of them.").arg(percentText(locked))
                            : tr("Every row is locked and they add up to %1 %. Unlock at least one row.").arg(percentText(locked));
        }
        return false;
    }
    if (std::accumulate(open.begin(), open.end(), 0.0) <= 0) {
        std::fill(open.begin(), open.end(), 1.0); // all at zero: equal parts
    }
    const auto parts = hundredths(open, room);
    std::size_t next = 0;
    for (auto& row : m_rows) {
        if (!row.locked) {
            row.draft = parts[next++];
        }
    }
    draftTouched();
    return true;
}

int MixtureModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(m_rows.size()); }

int MixtureModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int(ColumnCount); }

QString MixtureModel::cell(const Row& row, int rowNumber, int column) const {
    switch (column) {
    case Domain: return QString::fromStdString(row.info.name);
    case Language: return QString::fromStdString(row.info.languages);
    case Current: return percentText(row.current);
    case New: return percentText(row.draft);
    case Change: return text::withSign(double(row.draft - row.current) / 100.0, 2);
    case TokensSeen: return text::tokens(double(row.info.tokensSeen));
    case EpochsDone: return epochsText(epochsDone(rowNumber));
    case EpochsAtEnd: return epochsText(epochsAtEnd(rowNumber, true));
    default: return {};
    }
}

QVariant MixtureModel::data(const QModelIndex& index, int role) const {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid)) {
        return {};
    }
    const Row& row = m_rows[static_cast<std::size_t>(index.row())];
    const int column = index.column();
    const bool many = column == EpochsAtEnd && epochsAtEnd(index.row(), true) > kManyEpochs;
    switch (role) {
    case Qt::DisplayRole: return cell(row, index.row(), column);
    case Qt::EditRole: return column == New ? QVariant(double(row.draft) / 100.0) : QVariant(cell(row, index.row(), column));
    case Qt::TextAlignmentRole: return QVariant(Qt::AlignVCenter | (column >= Current && column != Delta ? Qt::AlignRight : Qt::AlignLeft));
    case Qt::CheckStateRole: return column == Lock ? QVariant(row.locked ? Qt::Checked : Qt::Unchecked) : QVariant();
    case Qt::AccessibleTextRole:
        return column == New    ? tr("New share of %1, percent: %2").arg(cell(row, index.row(), Domain), cell(row, index.row(), New))
               : column == Lock ? tr("%1, %2").arg(cell(row, index.row(), Domain), row.locked ? tr("locked") : tr("not locked"))
                                : cell(row, index.row(), column);
    case Qt::ToolTipRole:
        return column == Lock ? tr("Locked rows keep their share when you normalise.")
               : many         ? tr("%1 would be read %2 times by the end of the run; above 4 epochs repeated data helps little.")
                            .arg(cell(row, index.row(), Domain), cell(row, index.row(), EpochsAtEnd))
                              : QVariant();
    case ValueRole: return column == Delta ? double(row.draft - row.current) / 100.0 : double(row.draft) / 100.0;
    case LockedRole: return row.locked;
    case ChangedRole: return row.draft != row.current;
    case WarnRole: return many;
    default: return {};
    }
}

bool MixtureModel::setData(const QModelIndex& index, const QVariant& value, int role) {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid)) {
        return false;
    }
    Row& row = m_rows[static_cast<std::size_t>(index.row())];
    if (index.column() == Lock && role == Qt::CheckStateRole) {
        setLocked(index.row(), value.toInt() == Qt::Checked);
        return true;
    }
    bool ok = false;
    const double percent = value.toDouble(&ok);
    if (index.column() != New || role != Qt::EditRole || row.locked || !ok || !(percent >= 0) || percent > 100) {
        return false;
    }
    row.draft = std::llround(percent * 100.0);
    draftTouched();
    return true;
}

QVariant MixtureModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal || section < 0 || section >= ColumnCount) {
        return {};
    }
    if (role == Qt::TextAlignmentRole) {
        return QVariant(Qt::AlignVCenter | (section >= Current && section != Delta ? Qt::AlignRight : Qt::AlignLeft));
    }
    if (role != Qt::DisplayRole) {
        return {};
    }
    switch (section) {
    case Domain: return tr("Domain");
    case Language: return tr("Language");
    case Current: return tr("Current %");
    case New: return tr("New %");
    case Change: return tr("Change, pp");
    case Delta: return tr("Change");
    case TokensSeen: return tr("Tokens seen");
    case EpochsDone: return tr("Epochs done");
    case EpochsAtEnd: return m_totalTokens > 0 ? tr("Epochs at %1").arg(text::tokens(double(m_totalTokens))) : tr("Epochs at end");
    default: return QString();
    }
}

Qt::ItemFlags MixtureModel::flags(const QModelIndex& index) const {
    if (!index.isValid()) {
        return Qt::NoItemFlags;
    }
    Qt::ItemFlags flags = Qt::ItemIsEnabled | Qt::ItemIsSelectable | Qt::ItemNeverHasChildren;
    if (index.column() == Lock) {
        flags |= Qt::ItemIsUserCheckable;
    } else if (index.column() == New && !m_rows[static_cast<std::size_t>(index.row())].locked) {
        flags |= Qt::ItemIsEditable;
    }
    return flags;
}

} // namespace telehelm::app
