// SPDX-License-Identifier: Apache-2.0
// Where a rank is inside a step: the step's code says so at each turn, and who listens measures it or lets it fail.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include "comm/watched_communicator.h"
#include "parallel/mesh_shape.h"
#include "telehelm/ipc/rank_page.h"

namespace telehelm::train {

/// The phases of a step, in their order. Checkpoint: between steps, once the writer has its copy.
enum class Phase : std::uint8_t { Data, Forward, Backward, Reduce, Optimizer, Gather, Checkpoint };
inline constexpr std::size_t kPhases = 7;
[[nodiscard]] const char* name(Phase phase);

/// What is measured inside of phases: being held in calls on an axis (waiting for its slowest rank included); on the pipeline's,
/// waiting for a neighbour's message is the bubble, the rest is talking.
enum class Meter : std::uint8_t { CommTensor, CommData, CommPipeline, Bubble };
inline constexpr std::size_t kMeters = 4;

/// Milliseconds in each phase, on each meter, and on all meters inside of each phase.
struct StepTimes {
    std::array<double, kPhases> phases{}, inside{};
    std::array<double, kMeters> meters{};
    void add(const StepTimes& more);
};

/// Trainer thread only.
class StepWatch {
public:
    using OnEnter = std::function<void(std::int64_t step, Phase phase)>;
    using OnCall = std::function<void(std::int64_t step, parallel::Axis axis)>;
    /// `onEnter` comes at each turn, before the phase's work; `onCall` before each call on an axis inside a step. Turns and calls,
    /// those of the start included, are written to `page`, too; null: nowhere. Borrowed.
    explicit StepWatch(OnEnter onEnter = {}, OnCall onCall = {}, ipc::RankPage* page = nullptr)
        : m_onEnter(std::move(onEnter)), m_onCall(std::move(onCall)), m_page(page) {}

    void begin(std::int64_t step);
    /// The phase before ends here.
    void enter(Phase phase);
    void end();
    /// Part of the phase that is running; outside a step nothing counts.
    void add(Meter meter, double ms);
    /// Where the host runs ahead of a device its own clock says nothing about phases: they come by account(), before the first step.
    void leaveToDevice() { m_isOnDevice = true; }
    [[nodiscard]] bool isOnDevice() const { return m_isOnDevice; }
    /// What a device measured and what was added here, both since the last call, are what is told from here on.
    void account(const StepTimes& measured);
    /// Before a call on that axis.
    void calls(parallel::Axis axis);
    void called();
    /// Milliseconds in each phase since begin(); on a device from one account() to the next, which is one step later for what comes behind it.
    [[nodiscard]] double ms(Phase phase) const { return told().phases[static_cast<std::size_t>(phase)]; }
    [[nodiscard]] double ms(Meter meter) const { return told().meters[static_cast<std::size_t>(meter)]; }
    /// What all meters counted inside a phase.
    [[nodiscard]] double inside(Phase phase) const { return told().inside[static_cast<std::size_t>(phase)]; }
    /// A phase without what the meters counted in it.
    [[nodiscard]] double alone(Phase phase) const { return ms(phase) - inside(phase); }

private:
    using Clock = std::chrono::steady_clock;
    [[nodiscard]] const StepTimes& told() const { return m_isOnDevice ? m_told : m_running; }
    void close();
    void note(ipc::RankPhase phase);

    const OnEnter m_onEnter;
    const OnCall m_onCall;
    ipc::RankPage* const m_page;
    std::int64_t m_step = 0;
    bool m_isOpen = false;
    Phase m_phase = Phase::Data;
    Clock::time_point m_entered;
    bool m_isOnDevice = false;
    StepTimes m_running, m_told; // the latter of a device
};

/// Tells a watch of the calls on one axis. What the host waits for a device counts nowhere: a device's times are its own.
class AxisListener final : public comm::CallListener {
public:
    AxisListener(StepWatch& watch, parallel::Axis axis) : m_watch(watch), m_axis(axis) {}
    void begins(comm::Call call) override;
    void ended(comm::Call call, double ms) override;

private:
    StepWatch& m_watch;
    const parallel::Axis m_axis;
};

} // namespace telehelm::train
