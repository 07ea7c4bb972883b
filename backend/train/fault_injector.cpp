// SPDX-License-Identifier: Apache-2.0
#include "train/fault_injector.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <limits>
#include <thread>

#include <unistd.h>

#include "model/device_state.h"

namespace telehelm::train {
namespace {

/// The last word of a rank that dies or hangs; straight to the job's log.
void lastWord(int rank, const char* what, std::int64_t step, const char* phase) {
    std::fprintf(stderr, "[faults] rank %d %s in step %lld, phase %s\n", rank, what, static_cast<long long>(step), phase);
    std::fflush(stderr);
}

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::span<float> partOf(std::span<float> of, const model::ParameterInfo& weight) {
    return of.subspan(static_cast<std::size_t>(weight.offset), static_cast<std::size_t>(weight.size));
}

std::vector<float> read(model::Model& model, const model::ParameterInfo& weight) {
    std::vector<float> values(static_cast<std::size_t>(weight.size));
    if (model::DeviceState* device = model.device()) {
        device->download(model::DeviceState::Buffer::Parameters, weight.offset, values);
    } else {
        std::ranges::copy(partOf(model.parameters(), weight), values.begin());
    }
    return values;
}

void write(model::Model& model, const model::ParameterInfo& weight, std::span<const float> values) {
    if (model::DeviceState* device = model.device()) {
        device->upload(model::DeviceState::Buffer::Parameters, weight.offset, values);
    } else {
        std::ranges::copy(values, partOf(model.parameters(), weight).begin());
    }
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

const model::ParameterInfo* FaultInjector::poisoned(const model::Model& model) const {
    const auto found = std::ranges::find(model.layout(), m_faults.nanName(), &model::ParameterInfo::name);
    return found == model.layout().end() ? nullptr : &*found;
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
    if (const model::ParameterInfo* weight = poisons(step, "forward") ? poisoned(model) : nullptr) {
        m_healthy = read(model, *weight);
        write(model, *weight, std::vector<float>(m_healthy.size(), kNaN)); // all of it: a batch may leave out a token's row
    }
}

void FaultInjector::heal(model::Model& model) {
    if (!m_healthy.empty()) {
        write(model, *poisoned(model), m_healthy);
        m_healthy.clear();
    }
}

void FaultInjector::poisonGradient(std::int64_t step, std::int64_t microBatch, model::Model& model) const {
    if (poisons(step, "backward") && microBatch == m_faults.nanMicroBatch) {
        if (model::DeviceState* device = model.device()) {
            device->upload(model::DeviceState::Buffer::Gradients, poisoned(model)->offset, std::span(&kNaN, 1));
        } else {
            partOf(model.gradients(), *poisoned(model)).front() = kNaN;
        }
    }
}

void FaultInjector::drift(model::Model& model) {
    const auto replica = std::ranges::find_if(model.layout(), &model::ParameterInfo::replicatedOverTensor);
    std::vector<float> weight = read(model, *replica);
    constexpr float kStepOfBf16 = 1.0F / 128; // of 1, where norms start: what the kernels read drifts, too
    weight.front() = model.device() != nullptr ? weight.front() + kStepOfBf16 : std::nextafter(weight.front(), 2.0F);
    write(model, *replica, weight);
}

} // namespace telehelm::train
