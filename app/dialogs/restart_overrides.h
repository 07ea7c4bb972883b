// SPDX-License-Identifier: GPL-3.0-or-later
// The fields of the Restart dialog that change the run: learning rate, clipping, data, mixture. GUI thread only.
#pragma once

#include <optional>

#include <QDoubleSpinBox>
#include <QWidget>

#include "models/mixture_model.h"
#include "telehelm/ipc/types.h"
#include "theme/theme.h"

class QComboBox;
class QGridLayout;
class QLabel;
class QLineEdit;
class QPushButton;
class QRadioButton;
class QSpinBox;

namespace telehelm::app {

/// "1.479e-4"; a step is one percent.
class LearningRateBox : public QDoubleSpinBox {
    Q_OBJECT
public:
    explicit LearningRateBox(QWidget* parent = nullptr);
    [[nodiscard]] QString textFromValue(double value) const override;
    [[nodiscard]] double valueFromText(const QString& text) const override;
    QValidator::State validate(QString& text, int& position) const override;
    void stepBy(int steps) override;
};

class RestartOverrides : public QWidget {
    Q_OBJECT
public:
    RestartOverrides(ThemeController& theme, MixtureModel& mixture, QWidget* parent);
    /// The values in force at the checkpoint: `scale` is of the learning rate. `scheduleRate` ≤ 0: not known, only the scale can be given.
    void setBase(const QString& configToml, qint64 step, double scale, double scheduleRate);
    /// `draft`: a draft saved on the mixture page, where there is one.
    void setMixtures(const ipc::Mixture& inForce, const std::optional<ipc::Mixture>& draft);
    void fill(ipc::RestartOptions& options) const;
    [[nodiscard]] QString missing() const; // what is wrong with the fields, empty: nothing
    void setEditing(bool on);              // of the mixture, as shown by the button

signals:
    void changed();
    void editMixtureRequested();

private:
    void buildRate(QGridLayout* grid);
    void buildClip(QGridLayout* grid);
    void buildData(QGridLayout* grid);
    void buildMixture(QGridLayout* grid);
    void showNotes();
    void scaleChanged();
    void rateChanged();

    enum MixtureChoice { Keep, InForce, Draft, Edited };
    ThemeController& m_theme;
    MixtureModel& m_mixture;
    LearningRateBox* m_rate;
    QDoubleSpinBox *m_scale, *m_clip;
    QLabel *m_rateNote, *m_clipNote;
    QRadioButton *m_skip, *m_newSeed;
    QSpinBox* m_skipCount;
    QLineEdit* m_seed;
    QComboBox* m_choice;
    QPushButton* m_edit;
    ipc::Mixture m_inForce;
    std::optional<ipc::Mixture> m_draft;
    double m_scheduleRate = 0, m_baseScale = 1, m_baseClip = 1; // m_scheduleRate: at scale 1
    qint64 m_step = 0;
};

} // namespace telehelm::app
