// SPDX-License-Identifier: GPL-3.0-or-later
// A draft of a run's data mixture beside the mixture in force. Shares are whole hundredths of a percent, so that what is shown adds
// up to exactly 100.00. GUI thread only.
#pragma once

#include <vector>

#include <QAbstractTableModel>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

/// 100.00 %
inline constexpr qint64 kWholeMixture = 10'000;

/// Shares 0..1 → hundredths of a percent that add up to exactly kWholeMixture (largest remainders get the rest).
[[nodiscard]] std::vector<qint64> hundredths(const std::vector<double>& shares, qint64 whole = kWholeMixture);

class MixtureModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Lock, Domain, Language, Current, New, Change, Delta, TokensSeen, EpochsDone, EpochsAtEnd, ColumnCount };
    enum Role { ValueRole = Qt::UserRole + 1, LockedRole, ChangedRole, WarnRole }; // numbers for the delegates
    /// Above this many passes, repeated data helps little.
    static constexpr double kManyEpochs = 4.0;

    explicit MixtureModel(QObject* parent = nullptr);

    /// Takes the facts of the run over; a draft of the same domains is kept.
    void setRun(const ipc::RunInfo& run, qint64 applyStep);
    void setApplyStep(qint64 step);
    void clear();

    [[nodiscard]] qint64 total() const;         // of New, in hundredths
    [[nodiscard]] qint64 tokensSeen() const;
    [[nodiscard]] bool isChanged() const;
    [[nodiscard]] ipc::Mixture draft() const;   // shares 0..1
    [[nodiscard]] ipc::Mixture current() const;
    [[nodiscard]] double epochsAtEnd(int row, bool withDraft) const; // NaN where the domain's size is unknown
    [[nodiscard]] double epochsDone(int row) const;
    [[nodiscard]] const ipc::DomainInfo& domain(int row) const { return m_rows[static_cast<std::size_t>(row)].info; }
    [[nodiscard]] qint64 currentHundredths(int row) const { return m_rows[static_cast<std::size_t>(row)].current; }
    [[nodiscard]] qint64 newHundredths(int row) const { return m_rows[static_cast<std::size_t>(row)].draft; }
    [[nodiscard]] bool isLocked(int row) const { return m_rows[static_cast<std::size_t>(row)].locked; }
    [[nodiscard]] double tokensAtApply() const;
    [[nodiscard]] double tokensAtEnd() const { return double(m_totalTokens); }

    void setDraft(const ipc::Mixture& mixture); // names that the run does not have are left out
    void setLocked(int row, bool locked);
    void lockChanged();
    void resetToCurrent();
    /// Scales the unlocked rows so that all add up to 100.00 %. False (and `why`) when the locked rows leave no room.
    bool normalise(QString* why = nullptr);

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    bool setData(const QModelIndex& index, const QVariant& value, int role) override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
    Qt::ItemFlags flags(const QModelIndex& index) const override;

signals:
    void draftChanged();

private:
    struct Row {
        ipc::DomainInfo info;
        qint64 current = 0, draft = 0;
        bool locked = false;
    };
    [[nodiscard]] QString cell(const Row& row, int rowNumber, int column) const;
    void draftTouched();

    std::vector<Row> m_rows;
    std::string m_run;
    qint64 m_step = 0, m_tokens = 0, m_totalTokens = 0, m_tokensPerStep = 0, m_applyStep = 0;
};

} // namespace telehelm::app
