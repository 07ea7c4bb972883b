// SPDX-License-Identifier: Apache-2.0
// Where a rank is inside a step: the step's code says so at each turn, and who listens measures it or lets it fail.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>

namespace telehelm::train {

/// The phases of a step, in their order. Checkpoint: between steps, once the writer has its copy.
enum class Phase : std::uint8_t { Data, Forward, Backward, Reduce, Optimizer, Gather, Checkpoint };
inline constexpr std::size_t kPhases = 7;
[[nodiscard]] const char* name(Phase phase);

/// What is measured inside of phases, as the step's code adds it: talking on an axis, and waiting for a pipeline's neighbour.
enum class Meter : std::uint8_t { CommTensor, CommPipeline, Bubble };
inline constexpr std::size_t kMeters = 3;

/// Trainer thread only.
class StepWatch {
public:
    /// `onEnter` comes at each turn, before the phase's work.
    explicit StepWatch(std::function<void(std::int64_t step, Phase phase)> onEnter = {}) : m_onEnter(std::move(onEnter)) {}

    void begin(std::int64_t step);
    /// The phase before ends here.
    void enter(Phase phase);
    void end();
    /// Part of the phase that is running.
    void add(Meter meter, double ms);
    /// Milliseconds in each phase since begin().
    [[nodiscard]] double ms(Phase phase) const { return m_ms[static_cast<std::size_t>(phase)]; }
    [[nodiscard]] double ms(Meter meter) const { return m_meters[static_cast<std::size_t>(meter)]; }
    /// What all meters counted inside a phase.
    [[nodiscard]] double inside(Phase phase) const { return m_inside[static_cast<std::size_t>(phase)]; }

private:
    using Clock = std::chrono::steady_clock;
    void close();

    const std::function<void(std::int64_t, Phase)> m_onEnter;
    std::int64_t m_step = 0;
    bool m_isOpen = false;
    Phase m_phase = Phase::Data;
    Clock::time_point m_entered;
    std::array<double, kPhases> m_ms{}, m_inside{};
    std::array<double, kMeters> m_meters{};
};

} // namespace telehelm::train
