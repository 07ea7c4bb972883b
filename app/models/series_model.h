// SPDX-License-Identifier: GPL-3.0-or-later
// The focused run's series as a tree of groups: name, value at the crosshair, latest value. GUI thread only.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include <QAbstractItemModel>
#include <QHash>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

class SeriesModel : public QAbstractItemModel {
    Q_OBJECT
public:
    enum Column { Name, AtCursor, Latest, ColumnCount };
    enum Role { SeriesRole = Qt::UserRole + 1, HiddenRole, ValidationRole, GroupRole, SlotRole };

    explicit SeriesModel(QObject* parent = nullptr);

    /// The domains tell English from Chinese bits per byte. Clears values when the run is another one.
    void setRun(const QString& run, int slot, const std::vector<ipc::DomainInfo>& domains);
    void setSeries(const std::vector<ipc::SeriesInfo>& series);
    /// Newest values out of the live stream; a series not seen before gets its row.
    void takeNews(const ipc::TelemetryBatch& batch);
    void setAtCursor(const QHash<QString, double>& values); // empty: the crosshair is away
    [[nodiscard]] bool isHidden(const QString& series) const { return m_hidden.contains(series); }
    void setHidden(const QString& series, bool hidden);
    [[nodiscard]] QModelIndex indexOf(const QString& series) const;
    [[nodiscard]] QStringList seriesNames() const;

    QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
    QModelIndex parent(const QModelIndex& index) const override;
    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

signals:
    void hiddenChanged(const QString& series, bool hidden);

private:
    enum class GroupId { Training, Validation, BpbEnglish, BpbChinese, ValidationLoss, Mixture, System, Ranks };
    struct Row {
        QString series, label;
        double latest = 0;
        std::int64_t step = -1;
    };
    struct Group {
        GroupId id;
        std::vector<Row> rows;
    };
    [[nodiscard]] GroupId groupOf(const QString& series) const;
    [[nodiscard]] QString groupTitle(const Group& group) const;
    [[nodiscard]] QVariant rowData(const Row& row, int column, int role) const;
    [[nodiscard]] QVariant groupData(const Group& group, int column, int role) const;
    Row* find(const QString& series, int* groupRow, int* row);
    void put(const QString& series, double latest, std::int64_t step);

    QString m_run;
    int m_slot = 0;
    std::map<QString, QString> m_languages; // domain → "en, zh"
    std::vector<std::unique_ptr<Group>> m_groups;
    QHash<QString, double> m_atCursor;
    QHash<QString, bool> m_hidden;
};

/// A series' value as the tables and readouts write it: loss 3 decimals, "1.471e-4", "352.4k", "43.2 %".
[[nodiscard]] QString seriesValue(const QString& series, double value);
/// "train/grad_norm" → "gradient norm", "bpb/Book" → "BPB Book".
[[nodiscard]] QString seriesLabel(const QString& series);

} // namespace telehelm::app
