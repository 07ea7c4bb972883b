// SPDX-License-Identifier: Apache-2.0
// What [faults] asks for, done to this rank: so that tests see a real NaN, a real slow rank, a real death, a real hang.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "model/model.h"
#include "parallel/mesh_shape.h"
#include "train/step_watch.h"

namespace telehelm::train {

/// Trainer thread only. Nothing happens unless the config names a fault for this attempt.
class FaultInjector {
public:
    static constexpr int kExitCode = 70; // of a rank that is told to exit

    FaultInjector(const config::FaultsConfig& faults, std::uint32_t attempt, int rank)
        : m_faults(faults), m_isOn(faults.inAttempt(attempt)), m_rank(rank) {}

    [[nodiscard]] bool isOn() const { return m_isOn; }
    /// What is going to happen, for the announcement; "" when off.
    [[nodiscard]] std::string text() const;
    /// Refused where the config's NaN could never come: this rank does not hold that layer.
    [[nodiscard]] Result<void> check(const model::Model& model) const;
    /// At each turn of a step: slow, die or hang here.
    void entered(std::int64_t step, Phase phase);
    /// Before a call on an axis: die or hang in the midst of the ranks' talk.
    void calls(std::int64_t step, parallel::Axis axis);
    /// Around a step: the weight is NaN during it, and as before after it (a skipped step changes none).
    void poison(std::int64_t step, model::Model& model);
    void heal(model::Model& model);
    /// Before a micro-batch's backward: the weight's gradient is NaN from here on.
    void poisonGradient(std::int64_t step, std::int64_t microBatch, model::Model& model) const;
    /// Whether drift() is to be called after this step, when no weight is on its way.
    [[nodiscard]] bool drifts(std::int64_t step) const { return m_isOn && step == m_faults.driftStep && m_rank == m_faults.driftRank; }
    /// One weight that all tensor ranks hold is no more the same on this one.
    static void drift(model::Model& model);

private:
    [[nodiscard]] bool poisons(std::int64_t step, const char* direction) const;
    /// The tensor that is poisoned; null: this rank does not hold it.
    [[nodiscard]] const model::ParameterInfo* poisoned(const model::Model& model) const;
    void failIn(std::int64_t step, const char* phase) const;

    const config::FaultsConfig m_faults;
    const bool m_isOn;
    const int m_rank;
    std::int64_t m_slowed = 0;    // the step in which this rank was slowed last
    std::vector<float> m_healthy; // while the weight is NaN
};

} // namespace telehelm::train
