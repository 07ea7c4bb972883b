// SPDX-License-Identifier: GPL-3.0-or-later
// "What will be lost" by a restart: steps, tokens, wall time, rank hours. GUI thread only.
#pragma once

#include <array>

#include <QFrame>

#include "telehelm/ipc/types.h"
#include "theme/theme.h"

class QLabel;

namespace telehelm::app {

struct RestartLoss {
    qint64 keptStep = 0, newestStep = 0; // steps in (keptStep, newestStep] are discarded
    qint64 tokens = 0, tokensSoFar = 0;
    double wallSeconds = -1;             // < 0: not known
    qint64 sinceUs = 0;
    int ranks = 1;
    [[nodiscard]] qint64 steps() const { return newestStep - keptStep; }
};

/// Step up to which the run's newest lineage and the checkpoint's own are the same.
[[nodiscard]] qint64 commonStep(const ipc::RunInfo& run, const ipc::CheckpointInfo& checkpoint);

class LossBoxes : public QFrame {
    Q_OBJECT
public:
    explicit LossBoxes(ThemeController& theme, QWidget* parent);
    void setLoss(const RestartLoss& loss);
    void clear();

private:
    struct Box {
        QLabel *name, *value, *remark;
    };
    void set(std::size_t box, const QString& value, const QString& remark);
    void restyle();
    ThemeController& m_theme;
    std::array<Box, 4> m_boxes{};
    bool m_filled = false;
};

} // namespace telehelm::app
