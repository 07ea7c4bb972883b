// SPDX-License-Identifier: Apache-2.0
// Learning rates of a step: linear warm-up in steps, then cosine decay in tokens down to the minimum rate, or constant.
#pragma once

#include <cstdint>

#include "config/run_config.h"

namespace telehelm::optim {

struct Rates {
    double vector = 0; // embedding, head, norms
    double matrix = 0; // linears
};

/// A value; any thread. A pure function of the step, so that a resumed run continues on the same curve.
class LearningRateSchedule {
public:
    /// `tokensPerStep` and `runSteps`: RunConfig::tokensPerStep() and ::steps (the decay's length where schedule.tokens is 0).
    LearningRateSchedule(const config::OptimizerConfig& optimizer, const config::ScheduleConfig& schedule,
                         std::int64_t tokensPerStep, std::int64_t runSteps);

    /// Rates of step ≥ 1, both multiplied by `lrScale` (floor included). Warm-up: step / warmupSteps of the peak. The decay
    /// starts where the warm-up ended and reaches the floor when schedule.tokens are trained, counted from the run's start.
    [[nodiscard]] Rates at(std::int64_t step, double lrScale) const;

private:
    [[nodiscard]] double decayed(double peak, std::int64_t step) const;

    double m_vectorPeak, m_matrixPeak, m_floor;
    bool m_cosine;
    std::int64_t m_warmupSteps, m_tokensPerStep, m_decayTokens;
};

} // namespace telehelm::optim
