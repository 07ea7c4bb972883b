// SPDX-License-Identifier: Apache-2.0
#include "train/pipeline_runner.h"

#include <algorithm>
#include <stdexcept>

namespace telehelm::train {

using parallel::Action;
using parallel::ActionKind;

namespace {

constexpr int kNoTicket = -1;

} // namespace

/// The schedule with a slot for each action; `slots` gets how many each chunk needs.
std::vector<PipelineRunner::Turn> PipelineRunner::turnsOf(const config::RunConfig& config, int stage, std::vector<int>& slots) {
    const config::ParallelConfig& mesh = config.parallel;
    const auto kind = parallel::scheduleKind(mesh.schedule);
    if (!kind) {
        throw std::invalid_argument(kind.error().text());
    }
    const auto actions =
        parallel::makeSchedule(*kind, mesh.pipeline, stage, static_cast<int>(config.microBatches()), mesh.chunks);
    if (!actions) {
        throw std::invalid_argument(actions.error().text());
    }
    slots.assign(static_cast<std::size_t>(mesh.chunks), 0);
    std::vector<std::vector<int>> free(slots.size());
    std::vector<std::vector<int>> held(slots.size(), std::vector<int>(static_cast<std::size_t>(config.microBatches())));
    std::vector<Turn> turns;
    for (const Action& action : *actions) {
        const auto chunk = static_cast<std::size_t>(action.chunk);
        int& slot = held[chunk][static_cast<std::size_t>(action.microBatch)];
        if (action.kind == ActionKind::Backward) {
            free[chunk].push_back(slot);
        } else if (free[chunk].empty()) {
            slot = slots[chunk]++;
        } else {
            slot = free[chunk].back();
            free[chunk].pop_back();
        }
        turns.push_back({action, slot});
    }
    for (std::size_t chunk = 0; chunk < slots.size(); ++chunk) {
        const auto last = std::find_if(turns.rbegin(), turns.rend(), [&](const Turn& turn) {
            return turn.action.kind == ActionKind::Backward && turn.action.chunk == static_cast<int>(chunk);
        });
        last->isLast = true;
    }
    return turns;
}

model::Placement PipelineRunner::placement(const config::RunConfig& config, const parallel::Mesh& mesh) {
    model::Placement placement{.parallel = model::parallelShape(config, mesh.own().tensor, mesh.own().pipeline),
                               .recompute = config.parallel.recomputes(),
                               .tensor = &mesh.tensor()};
    static_cast<void>(turnsOf(config, mesh.own().pipeline, placement.inFlight));
    return placement;
}

PipelineRunner::PipelineRunner(const config::RunConfig& config, model::Model& model, const parallel::Mesh& mesh, DeviceLinks* links,
                               DeviceClock* clock)
    : m_model(model), m_stages(mesh.pipeline()), m_stage(mesh.own().pipeline), m_count(config.parallel.pipeline),
      m_chunks(config.parallel.chunks), m_microBatches(config.microBatches()),
      m_microTokens(static_cast<std::size_t>(config.microSequences() * config.model.contextLength)) {
    std::vector<int> inFlight;
    m_turns = turnsOf(config, m_stage, inFlight);
    m_slots.resize(place(m_chunks, 0));
    for (const Turn& turn : m_turns) {
        m_slots[place(turn.action.chunk, turn.action.microBatch)] = turn.slot;
    }
    m_forwards.resize(m_slots.size(), kNoTicket);
    if (m_count * m_chunks > 1) {
        planBuffers(config, links, clock);
    }
}

/// As many as the checker proves to be enough, and the plan counts.
void PipelineRunner::planBuffers(const config::RunConfig& config, DeviceLinks* links, DeviceClock* clock) {
    const int microBatches = static_cast<int>(m_microBatches);
    const auto lists = parallel::scheduleKind(config.parallel.schedule).and_then([&](auto kind) {
        return parallel::makeSchedules(kind, m_count, microBatches, m_chunks);
    });
    const auto buffers = lists.and_then([&](const auto& all) { return parallel::gradientBuffers(all, microBatches, m_chunks); });
    if (!buffers) {
        throw std::invalid_argument(buffers.error().text());
    }
    m_backwards.resize(static_cast<std::size_t>((*buffers)[static_cast<std::size_t>(m_stage)]), kNoTicket);
    const std::int64_t boundary = m_model.boundarySize(config.microSequences());
    if (m_model.device() != nullptr) {
        if (links == nullptr || clock == nullptr) {
            throw std::logic_error("pipeline: a model on a device needs its ways to other stages and a clock");
        }
        if (const auto order = parallel::checkOrder(*lists, m_chunks); !order) {
            throw std::invalid_argument(order.error().text());
        }
        m_link = makeDeviceLink(m_model, *links, *clock, boundary, m_backwards.size());
    } else {
        m_link = makeHostLink(m_model, m_stages, boundary, m_backwards.size());
    }
    m_buffers.resize(m_slots.size());
    std::size_t next = 0;
    for (const Turn& turn : m_turns) {
        if (turn.action.kind == ActionKind::Backward && parallel::target(turn.action, m_count, m_stage, m_chunks)) {
            m_buffers[place(turn.action.chunk, turn.action.microBatch)] = next++ % m_backwards.size();
        }
    }
}

double PipelineRunner::run(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, float gradScale,
                           const std::function<void(const Action&, bool)>& onTurn) {
    double nats = 0;
    for (const Turn& turn : m_turns) {
        const std::size_t from = static_cast<std::size_t>(turn.action.microBatch) * m_microTokens;
        const auto in = inputs.subspan(from, m_microTokens);
        const auto out = targets.subspan(from, m_microTokens);
        if (m_count * m_chunks == 1) { // forward and backward in one
            if (turn.action.kind == ActionKind::Forward) {
                onTurn(turn.action, turn.action.microBatch + 1 == m_microBatches);
                nats += m_model.trainMicroBatch(in, out, gradScale);
            }
            continue;
        }
        onTurn(turn.action, turn.isLast);
        if (turn.action.kind == ActionKind::Forward) {
            forward(turn, in, out);
        } else {
            nats += backward(turn, in, out, gradScale);
        }
    }
    std::ranges::for_each(m_forwards, [this](int& ticket) { settle(ticket); });
    std::ranges::for_each(m_backwards, [this](int& ticket) { settle(ticket); });
    return nats;
}

void PipelineRunner::forward(const Turn& turn, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets) {
    const Action& action = turn.action;
    receiveInput(action, turn.slot);
    m_model.forwardPart(action.chunk, turn.slot, inputs, targets);
    m_forwards[place(action.chunk, action.microBatch)] = postOutput(action, turn.slot);
}

double PipelineRunner::backward(const Turn& turn, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                                float gradScale) {
    const Action& action = turn.action;
    settle(m_forwards[place(action.chunk, action.microBatch)]); // its output's place may be used again from here on
    receiveGradient(action);
    const double nats = m_model.backwardPart(action.chunk, turn.slot, inputs, targets, gradScale);
    postGradient(action);
    return nats;
}

/// From another stage, or from this one's neighbouring chunk where there is only one stage; the first part has none.
void PipelineRunner::receiveInput(const Action& action, int slot) {
    const auto from = parallel::source(action, m_count, m_stage, m_chunks);
    if (from && from->stage != m_stage) {
        m_link->receiveInput(action, slot, from->stage);
    } else if (from) {
        m_link->passOutput(from->chunk, m_slots[place(from->chunk, action.microBatch)], action.chunk, slot);
    }
}

void PipelineRunner::receiveGradient(const Action& action) {
    const auto from = parallel::source(action, m_count, m_stage, m_chunks);
    if (from && from->stage != m_stage) {
        m_link->receiveGradient(action, from->stage);
    } else if (from) {
        m_link->takeGradient(m_buffers[place(from->chunk, action.microBatch)]);
    }
}

int PipelineRunner::postOutput(const Action& action, int slot) {
    const auto to = parallel::target(action, m_count, m_stage, m_chunks);
    if (!to || to->stage == m_stage) {
        return kNoTicket;
    }
    return m_link->postOutput({action.kind, action.microBatch, to->chunk}, action.chunk, slot, to->stage);
}

void PipelineRunner::postGradient(const Action& action) {
    const auto to = parallel::target(action, m_count, m_stage, m_chunks);
    if (!to) {
        return;
    }
    const std::size_t buffer = m_buffers[place(action.chunk, action.microBatch)];
    settle(m_backwards[buffer]);
    if (to->stage == m_stage) {
        m_link->keepGradient(buffer);
    } else {
        m_backwards[buffer] = m_link->postGradient({action.kind, action.microBatch, to->chunk}, buffer, to->stage);
    }
}

void PipelineRunner::settle(int& ticket) {
    if (ticket != kNoTicket) {
        m_link->settle(ticket);
        ticket = kNoTicket;
    }
}

void PipelineRunner::evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats) {
    if (m_count * m_chunks == 1) {
        m_model.evaluate(inputs, targets, nats);
        return;
    }
    for (int chunk = 0; chunk < m_chunks; ++chunk) {
        const Action action{ActionKind::Forward, 0, chunk};
        const auto from = parallel::source(action, m_count, m_stage, m_chunks);
        if (from && from->stage == m_stage) {
            m_link->passOutput(from->chunk, 0, chunk, 0);
        } else {
            receiveInput(action, 0);
        }
        m_model.forwardPart(chunk, 0, inputs, targets);
        m_forwards[static_cast<std::size_t>(chunk)] = postOutput(action, 0);
    }
    if (m_stage == m_count - 1) {
        m_model.evaluatePart(0, inputs, targets, nats);
    }
    std::ranges::for_each(m_forwards, [this](int& ticket) { settle(ticket); });
    m_stages.broadcast(std::as_writable_bytes(nats), m_count - 1);
}

} // namespace telehelm::train
