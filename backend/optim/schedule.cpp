// SPDX-License-Identifier: Apache-2.0
#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace telehelm::optim {

LearningRateSchedule::LearningRateSchedule(const config::OptimizerConfig& optimizer, const config::ScheduleConfig& schedule,
                                           std::int64_t tokensPerStep, std::int64_t runSteps)
    : m_vectorPeak(optimizer.learningRate), m_matrixPeak(optimizer.matrixLearningRate), m_floor(optimizer.minimumLearningRate),
      m_cosine(schedule.type == "cosine"), m_warmupSteps(std::max<std::int64_t>(schedule.warmupSteps, 0)),
      m_tokensPerStep(tokensPerStep), m_decayTokens(schedule.tokens > 0 ? schedule.tokens : runSteps * tokensPerStep) {}

Rates LearningRateSchedule::at(std::int64_t step, double lrScale) const {
    return {lrScale * decayed(m_vectorPeak, step), lrScale * decayed(m_matrixPeak, step)};
}

double LearningRateSchedule::decayed(double peak, std::int64_t step) const {
    if (step < m_warmupSteps)
        return peak * static_cast<double>(step) / static_cast<double>(m_warmupSteps);
    if (!m_cosine)
        return peak;
    const double start = static_cast<double>(m_warmupSteps) * static_cast<double>(m_tokensPerStep);
    const double length = static_cast<double>(m_decayTokens) - start;
    const double done = static_cast<double>(step) * static_cast<double>(m_tokensPerStep) - start;
    const double progress = length > 0 ? std::clamp(done / length, 0.0, 1.0) : 1.0;
    const double floor = std::min(m_floor, peak);
    return floor + (peak - floor) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

} // namespace telehelm::optim
