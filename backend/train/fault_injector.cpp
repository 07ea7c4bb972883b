// SPDX-License-Identifier: Apache-2.0
#include "train/fault_injector.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <limits>
#include <thread>

#include <unistd.h>

namespace telehelm::train {
namespace {

/// The last word of a rank that dies or hangs; straight to the job's log.
void lastWord(int rank, const char* what, std::int64_t step, const char* phase) {
    std::fprintf(stderr, "[faults] rank %d %s in step %lld, phase %s\n", rank, what, static_cast<long long>(step), phase);
    std::fflush(stderr);
}

} // namespace

std::string FaultInjector::text() const {
    if (!m_isOn) {
        return {};
    }
    std::string text;
    const auto add = [&text](const std::string& what) { text += (text.empty() ? "" : "; ") + what; };
    const auto rank = [](std::int32_t number) { return "rank " + std::to_string(number); };
    if (m_faults.nanStep > 0) {
        const std::string what =
            m_faults.nanDirection == "forward"
                ? m_faults.nanName()
                : "the gradient of " + m_faults.nanName() + " (backward of micro-batch " + std::to_string(m_faults.nanMicroBatch) + ")";
        add("NaN on " + rank(m_faults.nanRank) + " in " + what + " at step " + std::to_string(m_faults.nanStep) + (m_faults.nanSteps > 1 ? " for " + std::to_string(m_faults.nanSteps) + " steps" : ""));
    }
    if (m_faults.driftStep > 0) {
        add("a norm's weight on " + rank(m_faults.driftRank) + " drifts after step " + std::to_string(m_faults.driftStep));
    }
    if (m_faults.slowMs > 0) {
        add(rank(m_faults.slowRank) + " is slowed by " + std::to_string(static_cast<std::int64_t>(m_faults.slowMs)) +
            " ms a step from step " + std::to_string(m_faults.slowFrom));
    }
    if (m_faults.dieStep > 0) {
        add(rank(m_faults.dieRank) + " dies (" + m_faults.dieHow + ") at step " + std::to_string(m_faults.dieStep) + " in " +
            m_faults.diePhase);
    }
    if (m_faults.hangStep > 0) {
        add(rank(m_faults.hangRank) + " hangs at step " + std::to_string(m_faults.hangStep) + " in " + m_faults.hangPhase);
    }
    return text;
}

void FaultInjector::entered(std::int64_t step, Phase phase) {
    if (!m_isOn) {
        return;
    }
    const std::int64_t slowEnd = m_faults.slowSteps > 0 ? m_faults.slowFrom + m_faults.slowSteps : INT64_MAX;
    if (m_faults.slowMs > 0 && m_rank == m_faults.slowRank && phase == Phase::Backward && step >= m_faults.slowFrom && step < slowEnd &&
        step != m_slowed) {
        m_slowed = step; // once a step, however many micro-batches it has
        std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(m_faults.slowMs));
    }
    failIn(step, name(phase));
}

void FaultInjector::calls(std::int64_t step, parallel::Axis axis) {
    if (m_isOn) {
        failIn(step, axis == parallel::Axis::Tensor ? "comm_tensor" : axis == parallel::Axis::Data ? "comm_data" : "comm_pipeline");
    }
}

void FaultInjector::failIn(std::int64_t step, const char* phase) const {
    if (step == m_faults.dieStep && m_rank == m_faults.dieRank && m_faults.diePhase == phase) {
        lastWord(m_rank, "dies", step, phase);
        if (m_faults.dieHow == "signal") {
            ::kill(getpid(), SIGKILL);
        }
        _exit(kExitCode);
    }
    if (step == m_faults.hangStep && m_rank == m_faults.hangRank && m_faults.hangPhase == phase) {
        lastWord(m_rank, "hangs", step, phase);
        for (;;) {
            std::this_thread::sleep_for(std::chrono::hours(1));
        }
    }
}

bool FaultInjector::poisons(std::int64_t step, const char* direction) const {
    return m_isOn && m_faults.nanStep > 0 && m_rank == m_faults.nanRank && m_faults.nanDirection == direction && step >= m_faults.nanStep &&
           step < m_faults.nanStep + m_faults.nanSteps;
}

std::span<float> FaultInjector::poisonedPart(const model::Model& model, std::span<float> of) const {
    const auto found = std::ranges::find(model.layout(), m_faults.nanName(), &model::ParameterInfo::name);
    return found == model.layout().end() ? std::span<float>()
                                         : of.subspan(static_cast<std::size_t>(found->offset), static_cast<std::size_t>(found->size));
}

Result<void> FaultInjector::check(const model::Model& model) const {
    if (!m_isOn || m_faults.nanStep == 0 || m_rank != m_faults.nanRank ||
        std::ranges::find(model.layout(), m_faults.nanName(), &model::ParameterInfo::name) != model.layout().end()) {
        return {};
    }
    std::string held;
    for (const model::ParameterInfo& info : model.layout()) {
        const bool isLayers = info.name.ends_with(".attention.qkv"); // one of each layer
        if (isLayers || info.name.find('.') == std::string::npos) {
            held += (held.empty() ? "" : ", ") + (isLayers ? "layer " + info.name.substr(7, info.name.find('.', 7) - 7) : info.name);
        }
    }
    const std::string what = m_faults.nanIsInLayer() ? "nan_layer " + std::to_string(m_faults.nanLayer) : "nan_tensor " + m_faults.nanTensor;
    return fail(ErrorCode::InvalidArgument, "nan_rank " + std::to_string(m_rank) + " does not hold " + what + ", but " + held, "[faults]");
}

void FaultInjector::poison(std::int64_t step, model::Model& model) {
    if (poisons(step, "forward")) {
        const std::span<float> weight = poisonedPart(model, model.parameters());
        m_healthy.assign(weight.begin(), weight.end());
        std::ranges::fill(weight, std::numeric_limits<float>::quiet_NaN()); // all of it: a batch may leave out a token's row
        model.takeParameters();
    }
}

void FaultInjector::heal(model::Model& model) {
    if (!m_healthy.empty()) {
        std::ranges::copy(m_healthy, poisonedPart(model, model.parameters()).begin());
        model.takeParameters();
        m_healthy.clear();
    }
}

void FaultInjector::poisonGradient(std::int64_t step, std::int64_t microBatch, model::Model& model) const {
    if (poisons(step, "backward") && microBatch == m_faults.nanMicroBatch) {
        poisonedPart(model, model.gradients()).front() = std::numeric_limits<float>::quiet_NaN();
    }
}

void FaultInjector::drift(model::Model& model) {
    const auto replica = std::ranges::find_if(model.layout(), &model::ParameterInfo::replicatedOverTensor);
    float& weight = model.parameters()[static_cast<std::size_t>(replica->offset)];
    weight = std::nextafter(weight, 2.0F);
    model.takeParameters();
}

} // namespace telehelm::train
