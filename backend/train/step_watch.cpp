// SPDX-License-Identifier: Apache-2.0
#include "train/step_watch.h"

#include <algorithm>
#include <functional>
#include <span>

namespace telehelm::train {

namespace {

ipc::RankPhase onPage(Phase phase) {
    static_assert(static_cast<std::size_t>(ipc::RankPhase::Checkpoint) == kPhases);
    return static_cast<ipc::RankPhase>(static_cast<std::size_t>(phase) + 1); // the page knows the start, too
}

void addTo(std::span<double> sums, std::span<const double> values) {
    std::ranges::transform(sums, values, sums.begin(), std::plus<>());
}

} // namespace

void StepTimes::add(const StepTimes& more) {
    addTo(phases, more.phases);
    addTo(inside, more.inside);
    addTo(meters, more.meters);
}

const char* name(Phase phase) {
    return ipc::name(onPage(phase));
}

void StepWatch::note(ipc::RankPhase phase) {
    if (m_page != nullptr) {
        m_page->at(m_step, phase);
    }
}

void StepWatch::begin(std::int64_t step) {
    m_step = step;
    m_isOpen = false;
    if (!m_isOnDevice) {
        m_running = {};
    }
}

void StepWatch::close() {
    if (m_isOpen && !m_isOnDevice) {
        m_running.phases[static_cast<std::size_t>(m_phase)] += std::chrono::duration<double, std::milli>(Clock::now() - m_entered).count();
    }
    m_isOpen = false;
}

void StepWatch::enter(Phase phase) {
    close();
    m_phase = phase;
    m_entered = Clock::now();
    m_isOpen = true;
    note(onPage(phase));
    if (m_onEnter) {
        m_onEnter(m_step, phase);
    }
}

void StepWatch::add(Meter meter, double ms) {
    if (m_isOpen) {
        m_running.meters[static_cast<std::size_t>(meter)] += ms;
        m_running.inside[static_cast<std::size_t>(m_phase)] += ms;
    }
}

void StepWatch::account(const StepTimes& measured) {
    m_running.add(measured);
    m_told = std::exchange(m_running, {});
}

void StepWatch::calls(parallel::Axis axis) {
    if (m_isOpen && m_onCall) {
        m_onCall(m_step, axis);
    }
    if (m_page != nullptr) {
        m_page->talks(true);
    }
}

void StepWatch::called() {
    if (m_page != nullptr) {
        m_page->talks(false);
    }
}

void StepWatch::end() {
    close();
    note(ipc::RankPhase::Between);
}

void AxisListener::begins(comm::Call) {
    m_watch.calls(m_axis);
}

void AxisListener::ended(comm::Call call, double ms) {
    m_watch.called();
    if (call == comm::Call::Stream || (m_axis == parallel::Axis::Pipeline && m_watch.isOnDevice())) {
        return; // much of it is the device's own work; its clock knows what it was held up for (device_clock.h)
    }
    const bool waits = m_axis == parallel::Axis::Pipeline && call == comm::Call::Receive;
    m_watch.add(waits                               ? Meter::Bubble
                : m_axis == parallel::Axis::Tensor  ? Meter::CommTensor
                : m_axis == parallel::Axis::Data    ? Meter::CommData
                                                    : Meter::CommPipeline,
                ms);
}

} // namespace telehelm::train
