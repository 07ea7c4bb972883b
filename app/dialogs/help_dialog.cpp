// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/help_dialog.h"

#include <vector>

#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QVBoxLayout>

#include "widgets/panel.h"

namespace telehelm::app {
namespace {

struct Line {
    QString keys, does;
};
struct Section {
    QString title;
    std::vector<Line> lines;
};

QString tr(const char* text) {
    return HelpDialog::tr(text);
}

std::vector<Section> plotSections() {
    return {{tr("Mouse on a plot"),
             {{tr("Wheel"), tr("zoom x at the pointer")},
              {tr("Ctrl+wheel"), tr("zoom values")},
              {tr("Shift+wheel"), tr("pan x")},
              {tr("Drag"), tr("pan")},
              {tr("Shift+drag"), tr("zoom to a rectangle")},
              {tr("Alt+drag"), tr("measure: steps, tokens, time, difference, slope")},
              {tr("Double click"), tr("reset the plot; on an axis: that axis")},
              {tr("Click a flag"), tr("select its event")},
              {tr("Right click"), tr("copy, save, log axis, range, note")}}},
            {tr("Keys on a plot"),
             {{tr("F / R"), tr("Follow / reset all plots")},
              {tr("← →, with Shift"), tr("crosshair one sample, ten")},
              {tr("+ −"), tr("zoom x")},
              {tr("Ctrl+Z, Ctrl+Y"), tr("zoom back, forward")},
              {tr("1 2 3"), tr("x axis step, tokens, wall time")},
              {tr("L E V G"), tr("log, envelope, events, references")},
              {tr("[ ]"), tr("less, more smoothing")},
              {tr("Space"), tr("hide or show the training loss")}}}};
}

std::vector<Section> windowSections() {
    return {{tr("Everywhere"),
             {{tr("Ctrl+1 … 3"), tr("Live, Mixture, Audit")},
              {tr("Ctrl+K"), tr("every action, run, series and step")},
              {tr("Ctrl+F"), tr("find a series")},
              {tr("Ctrl+Shift+C"), tr("connect")},
              {tr("F5"), tr("reconnect now")},
              {tr("F8, Shift+F8"), tr("next, previous event")},
              {tr("F11"), tr("full screen")},
              {tr("Ctrl+,"), tr("settings")},
              {tr("Ctrl+Q"), tr("quit; runs go on")}}},
            {tr("Run control, always with a dialog"),
             {{tr("Ctrl+Shift+P"), tr("pause…")},
              {tr("Ctrl+Shift+U"), tr("resume…")},
              {tr("Ctrl+Shift+R"), tr("restart from a checkpoint…")},
              {tr("Ctrl+Shift+S"), tr("stop…")}}},
            {tr("Lists"),
             {{tr("Middle click, Space"), tr("hide or show a run or a series")}, {tr("Click a run"), tr("focus it on every page")}}}};
}

QGridLayout* column(ThemeController& theme, const std::vector<Section>& sections, QWidget* parent) {
    auto* grid = new QGridLayout;
    grid->setHorizontalSpacing(16);
    grid->setVerticalSpacing(4);
    grid->setColumnStretch(1, 1);
    int row = 0;
    for (const Section& section : sections) {
        if (row > 0)
            grid->setRowMinimumHeight(row++, 10);
        grid->addWidget(makeLabel(theme, TextRole::Section, "", section.title, parent), row++, 0, 1, 2);
        for (const Line& line : section.lines) {
            grid->addWidget(makeLabel(theme, TextRole::TableNumber, "", line.keys, parent), row, 0);
            grid->addWidget(makeLabel(theme, TextRole::Body, "secondary", line.does, parent), row++, 1);
        }
    }
    grid->setRowStretch(row, 1);
    return grid;
}

} // namespace

HelpDialog::HelpDialog(ThemeController& theme) : ScrimDialog(theme) {
    setAccessibleName(tr("Mouse and keys"));
    auto* columns = new QHBoxLayout;
    columns->setSpacing(28);
    columns->addLayout(column(theme, plotSections(), this), 1);
    columns->addLayout(column(theme, windowSections(), this), 1);
    auto* close = makeButton(theme, "", "", tr("Close"), this, true);
    close->setDefault(true);
    auto* buttons = new QHBoxLayout;
    buttons->addStretch(1);
    buttons->addWidget(close);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(20, 16, 20, 16);
    all->setSpacing(14);
    all->addWidget(makeLabel(theme, TextRole::WindowTitle, "", tr("Mouse and keys"), this));
    all->addLayout(columns, 1);
    all->addLayout(buttons);
    connect(close, &QPushButton::clicked, this, &QDialog::reject);
}

void openHelpDialog(QWidget* parent, ThemeController& theme) {
    if (Scrim::openDialog(parent) == nullptr)
        Scrim::open(parent, new HelpDialog(theme), theme);
}

} // namespace telehelm::app
