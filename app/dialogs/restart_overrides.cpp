// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/restart_overrides.h"

#include <algorithm>
#include <cmath>

#include <QComboBox>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QRadioButton>
#include <QRegularExpressionValidator>
#include <QSpinBox>
#include <QStyle>

#include "models/config_diff.h"
#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {

namespace {

void mark(QWidget* field, bool changed) {
    const QString state = changed ? QStringLiteral("changed") : QString();
    if (field->property("state").toString() != state) {
        field->setProperty("state", state);
        field->style()->unpolish(field);
        field->style()->polish(field);
    }
}

bool differs(double a, double b) { return std::abs(a - b) > 5e-4 * std::max(std::abs(a), std::abs(b)); }

} // namespace

LearningRateBox::LearningRateBox(QWidget* parent) : QDoubleSpinBox(parent) {
    setDecimals(12);
    setRange(0, 10);
    setKeyboardTracking(false);
}

QString LearningRateBox::textFromValue(double value) const { return text::learningRate(value); }

double LearningRateBox::valueFromText(const QString& text) const { return text.toDouble(); }

QValidator::State LearningRateBox::validate(QString& text, int&) const {
    static const QRegularExpression partial(QStringLiteral("^[0-9]*\\.?[0-9]*([eE][+-]?[0-9]{0,2})?$"));
    bool ok = false;
    const double value = text.toDouble(&ok);
    return ok && value >= minimum() && value <= maximum() ? QValidator::Acceptable : partial.match(text).hasMatch() ? QValidator::Intermediate : QValidator::Invalid;
}

void LearningRateBox::stepBy(int steps) { setValue(value() * std::pow(1.01, steps)); }

RestartOverrides::RestartOverrides(ThemeController& theme, MixtureModel& mixture, QWidget* parent) : QWidget(parent), m_theme(theme), m_mixture(mixture) {
    auto* grid = new QGridLayout(this);
    grid->setContentsMargins(0, 0, 0, 0);
    grid->setHorizontalSpacing(10);
    grid->setVerticalSpacing(5);
    grid->setColumnMinimumWidth(0, 124);
    grid->setColumnStretch(1, 1);
    buildRate(grid);
    buildClip(grid);
    buildData(grid);
    buildMixture(grid);
    connect(&m_mixture, &MixtureModel::draftChanged, this, [this] {
        if (m_choice->currentData().toInt() == Edited) {
            emit changed();
        }
    });
}

void RestartOverrides::buildRate(QGridLayout* grid) {
    m_rate = new LearningRateBox(this);
    m_rate->setObjectName(QStringLiteral("learningRate"));
    m_rate->setAccessibleName(tr("Learning rate at the checkpoint's step"));
    m_scale = new QDoubleSpinBox(this);
    m_scale->setObjectName(QStringLiteral("lrScale"));
    m_scale->setAccessibleName(tr("Learning rate, times the schedule"));
    m_scale->setRange(0.0001, 1000);
    m_scale->setDecimals(4);
    m_scale->setSingleStep(0.05);
    m_scale->setPrefix(QStringLiteral("× "));
    m_rateNote = makeLabel(m_theme, TextRole::Caption, "quiet", {}, this);
    for (QDoubleSpinBox* box : {static_cast<QDoubleSpinBox*>(m_rate), m_scale}) {
        box->setFont(m_theme.font(TextRole::TableNumber));
        box->setFixedWidth(112);
    }
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    row->addWidget(m_rate);
    row->addWidget(m_scale);
    row->addWidget(m_rateNote, 1);
    grid->addWidget(makeLabel(m_theme, TextRole::Body, "", tr("Learning rate"), this), 0, 0);
    grid->addLayout(row, 0, 1);
    connect(m_rate, &QDoubleSpinBox::valueChanged, this, &RestartOverrides::rateChanged);
    connect(m_scale, &QDoubleSpinBox::valueChanged, this, &RestartOverrides::scaleChanged);
}

void RestartOverrides::buildClip(QGridLayout* grid) {
    m_clip = new QDoubleSpinBox(this);
    m_clip->setObjectName(QStringLiteral("clip"));
    m_clip->setAccessibleName(tr("Gradient clip"));
    m_clip->setRange(0, 1e6);
    m_clip->setDecimals(3);
    m_clip->setSingleStep(0.1);
    m_clip->setFont(m_theme.font(TextRole::TableNumber));
    m_clip->setFixedWidth(112);
    m_clipNote = makeLabel(m_theme, TextRole::Caption, "quiet", {}, this);
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    row->addWidget(m_clip);
    row->addWidget(m_clipNote, 1);
    grid->addWidget(makeLabel(m_theme, TextRole::Body, "", tr("Gradient clip"), this), 1, 0);
    grid->addLayout(row, 1, 1);
    connect(m_clip, &QDoubleSpinBox::valueChanged, this, [this] {
        showNotes();
        emit changed();
    });
}

void RestartOverrides::buildData(QGridLayout* grid) {
    m_skip = new QRadioButton(tr("Skip"), this);
    m_skip->setChecked(true);
    m_skip->setObjectName(QStringLiteral("skip"));
    m_skipCount = new QSpinBox(this);
    m_skipCount->setObjectName(QStringLiteral("skipBatches"));
    m_skipCount->setAccessibleName(tr("Batches to skip"));
    m_skipCount->setRange(0, 100'000'000);
    m_skipCount->setGroupSeparatorShown(true);
    m_skipCount->setFont(m_theme.font(TextRole::TableNumber));
    m_skipCount->setFixedWidth(92);
    m_newSeed = new QRadioButton(tr("New data seed"), this);
    m_newSeed->setObjectName(QStringLiteral("newSeed"));
    m_seed = new QLineEdit(this);
    m_seed->setObjectName(QStringLiteral("seed"));
    m_seed->setAccessibleName(tr("New data seed"));
    m_seed->setFont(m_theme.font(TextRole::TableNumber));
    m_seed->setValidator(new QRegularExpressionValidator(QRegularExpression(QStringLiteral("[0-9]{1,18}")), m_seed));
    m_seed->setFixedWidth(84);
    m_seed->setEnabled(false);
    for (QWidget* word : {static_cast<QWidget*>(m_skip), static_cast<QWidget*>(m_newSeed)}) {
        word->setFont(m_theme.font(TextRole::Body));
    }
    auto* row = new QHBoxLayout;
    row->setSpacing(7);
    row->addWidget(m_skip);
    row->addWidget(m_skipCount);
    row->addWidget(makeLabel(m_theme, TextRole::Body, "secondary", tr("batches"), this));
    row->addSpacing(8);
    row->addWidget(m_newSeed);
    row->addWidget(m_seed);
    row->addStretch(1);
    grid->addWidget(makeLabel(m_theme, TextRole::Body, "", tr("Data"), this), 2, 0);
    grid->addLayout(row, 2, 1);
    connect(m_newSeed, &QRadioButton::toggled, this, [this](bool on) {
        m_seed->setEnabled(on);
        m_skipCount->setEnabled(!on);
        showNotes();
        emit changed();
    });
    connect(m_skipCount, &QSpinBox::valueChanged, this, [this] {
        showNotes();
        emit changed();
    });
    connect(m_seed, &QLineEdit::textChanged, this, &RestartOverrides::changed);
}

void RestartOverrides::buildMixture(QGridLayout* grid) {
    m_choice = new QComboBox(this);
    m_choice->setObjectName(QStringLiteral("mixtureChoice"));
    m_choice->setAccessibleName(tr("Data mixture"));
    m_choice->setFont(m_theme.font(TextRole::Body));
    m_choice->setMinimumWidth(232);
    m_choice->addItem(tr("Keep the checkpoint's mixture"), Keep);
    m_choice->addItem(tr("Mixture in force now"), InForce);
    m_edit = makeButton(m_theme, "", "", tr("Edit…"), this);
    m_edit->setObjectName(QStringLiteral("editMixture"));
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    row->addWidget(m_choice);
    row->addWidget(m_edit);
    row->addStretch(1);
    grid->addWidget(makeLabel(m_theme, TextRole::Body, "", tr("Data mixture"), this), 3, 0);
    grid->addLayout(row, 3, 1);
    connect(m_choice, &QComboBox::currentIndexChanged, this, &RestartOverrides::changed);
    connect(m_edit, &QPushButton::clicked, this, [this] {
        if (m_choice->findData(Edited) < 0) {
            m_choice->addItem(tr("Edited here"), Edited);
        }
        m_choice->setCurrentIndex(m_choice->findData(Edited));
        emit editMixtureRequested();
    });
}

void RestartOverrides::setEditing(bool on) { m_edit->setText(on ? tr("Show changes") : tr("Edit…")); }

void RestartOverrides::setBase(const QString& configToml, qint64 step, double scale, double scheduleRate) {
    m_step = step;
    m_baseScale = scale;
    const double clipBefore = m_baseClip;
    m_baseClip = tomlNumber(configToml, QStringLiteral("optimizer"), QStringLiteral("clip_grad")).value_or(1.0);
    const bool rateKnown = scheduleRate > 0;
    const bool scaleUntouched = m_scale->property("touched").isNull();
    const bool clipUntouched = m_clip->property("touched").isNull() || !differs(m_clip->value(), clipBefore);
    m_scheduleRate = rateKnown ? scheduleRate / m_baseScale : 0;
    const QSignalBlocker a(m_rate), b(m_scale), c(m_clip);
    m_scale->setValue(scaleUntouched ? m_baseScale : m_scale->value());
    m_rate->setEnabled(rateKnown);
    m_rate->setValue(m_scheduleRate * m_scale->value());
    m_clip->setValue(clipUntouched ? m_baseClip : m_clip->value());
    m_clip->setProperty("touched", true);
    if (m_seed->text().isEmpty()) {
        m_seed->setText(QString::number(static_cast<qint64>(tomlNumber(configToml, QStringLiteral("data"), QStringLiteral("seed")).value_or(1234.0)) + 1));
    }
    showNotes();
    emit changed();
}

void RestartOverrides::setMixtures(const ipc::Mixture& inForce, const std::optional<ipc::Mixture>& draft) {
    m_inForce = inForce;
    m_draft = draft;
    if (draft && m_choice->findData(Draft) < 0) {
        m_choice->addItem(tr("Draft of the mixture page"), Draft);
    }
}

void RestartOverrides::rateChanged() {
    if (m_scheduleRate > 0) {
        const QSignalBlocker quiet(m_scale);
        m_scale->setValue(m_rate->value() / m_scheduleRate);
    }
    m_scale->setProperty("touched", true);
    showNotes();
    emit changed();
}

void RestartOverrides::scaleChanged() {
    const QSignalBlocker quiet(m_rate);
    m_rate->setValue(m_scheduleRate * m_scale->value());
    m_scale->setProperty("touched", true);
    showNotes();
    emit changed();
}

void RestartOverrides::showNotes() {
    const bool rateChanged = differs(m_scale->value(), m_baseScale), clipChanged = differs(m_clip->value(), m_baseClip);
    const QString was = m_scheduleRate > 0 ? text::learningRate(m_scheduleRate * m_baseScale) : QStringLiteral("× %1").arg(m_baseScale);
    m_rateNote->setText(rateChanged          ? tr("was %1").arg(was)
                        : m_scheduleRate > 0 ? tr("schedule at step %1, unchanged").arg(text::count(m_step))
                                             : tr("times the schedule"));
    m_clipNote->setText(clipChanged ? tr("was %1").arg(m_baseClip, 0, 'f', m_baseClip * 10 == std::floor(m_baseClip * 10) ? 1 : 3) : m_baseClip == 0 ? tr("off, unchanged") : tr("unchanged"));
    for (const auto& [note, isChanged] : {std::pair(m_rateNote, rateChanged), std::pair(m_clipNote, clipChanged)}) {
        note->setStyleSheet(isChanged ? QStringLiteral("color: %1;").arg(m_theme.theme().accent.name()) : QString());
    }
    mark(m_rate, rateChanged);
    mark(m_scale, rateChanged);
    mark(m_clip, clipChanged);
    mark(m_skipCount, m_skip->isChecked() && m_skipCount->value() > 0);
}

void RestartOverrides::fill(ipc::RestartOptions& options) const {
    if (differs(m_scale->value(), m_baseScale)) {
        options.lrScale = m_scale->value();
    }
    if (differs(m_clip->value(), m_baseClip)) {
        options.clipGrad = m_clip->value();
    }
    if (m_newSeed->isChecked()) {
        options.dataSeed = m_seed->text().toULongLong();
    } else {
        options.skipBatches = m_skipCount->value();
    }
    switch (m_choice->currentData().toInt()) {
    case InForce: options.mixture = m_inForce; break;
    case Draft: options.mixture = m_draft; break;
    case Edited: options.mixture = m_mixture.draft(); break;
    default: break;
    }
}

QString RestartOverrides::missing() const {
    if (m_newSeed->isChecked() && m_seed->text().isEmpty()) {
        return tr("Data seed missing");
    }
    if (m_choice->currentData().toInt() == Edited && m_mixture.total() != kWholeMixture) {
        return tr("Mixture adds up to %1 %, not 100.00 %").arg(text::fixed(double(m_mixture.total()) / 100, 2));
    }
    return {};
}

} // namespace telehelm::app
