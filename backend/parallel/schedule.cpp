// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule.h"

#include <algorithm>

namespace telehelm::parallel {
namespace {

std::string number(int value) {
    return std::to_string(value);
}

Result<void> checkArguments(ScheduleKind kind, int stages, int stage, int microBatches, int chunks) {
    const auto refuse = [](std::string text) { return fail(ErrorCode::InvalidArgument, std::move(text), "[parallel] schedule"); };
    if (stages < 1 || microBatches < 1 || chunks < 1) {
        return refuse("pipeline (" + number(stages) + "), micro-batches (" + number(microBatches) + ") and chunks (" +
                      number(chunks) + ") must each be at least 1");
    }
    if (stage < 0 || stage >= stages) {
        return refuse("there is no stage " + number(stage) + " in a pipeline of " + number(stages));
    }
    if (kind != ScheduleKind::Interleaved) {
        if (chunks == 1) {
            return {};
        }
        return refuse(std::string(name(kind)) + " runs one chunk per stage, not " + number(chunks) +
                      "; set chunks = 1 or schedule = \"interleaved\"");
    }
    if (chunks == 1) {
        return refuse("interleaved needs at least 2 chunks per stage; set chunks or schedule = \"1f1b\"");
    }
    if (microBatches % stages != 0) {
        return refuse("interleaved: pipeline (" + number(stages) + ") does not divide the " + number(microBatches) +
                      " micro-batches of a step");
    }
    return {};
}

/// The k-th forward (or backward) of any stage: rounds of p micro-batches, each round through all chunks.
Action nthAction(ActionKind kind, int k, int stages, int chunks) {
    const int round = k / (stages * chunks);
    const int place = k % (stages * chunks);
    const int chunk = place / stages;
    return {.kind = kind,
            .microBatch = round * stages + place % stages,
            .chunk = kind == ActionKind::Forward ? chunk : chunks - 1 - chunk};
}

/// 1F1B in three phases: forwards alone, one forward and one backward in turn, backwards alone. With one chunk the rounds
/// fall away, and m need not be a multiple of p.
std::vector<Action> oneForwardOneBackward(int stages, int stage, int microBatches, int chunks) {
    const int total = microBatches * chunks;
    // Enough forwards that each later backward is answered in time; with chunks, two steps of head start per stage instead
    // of one, because a backward comes back through a stage that runs a forward in between.
    const int warmUp = chunks == 1 ? stages - stage - 1 : 2 * (stages - stage - 1) + (chunks - 1) * stages;
    const int ahead = std::min(total, warmUp);
    std::vector<Action> actions;
    actions.reserve(2 * static_cast<std::size_t>(total));
    for (int k = 0; k < total + ahead; ++k) {
        if (k < total) {
            actions.push_back(nthAction(ActionKind::Forward, k, stages, chunks));
        }
        if (k >= ahead) {
            actions.push_back(nthAction(ActionKind::Backward, k - ahead, stages, chunks));
        }
    }
    return actions;
}

/// ZB-H1 (Qi et al. 2024): 1F1B's order of forwards and input gradients. Stage s runs s weight gradients behind, because its
/// gradients arrive that much earlier than stage 0's; what is left over fills the gaps between the last backwards.
std::vector<Action> zeroBubble(int stages, int stage, int microBatches) {
    std::vector<Action> actions;
    std::int32_t weightGrads = 0;
    for (const Action& action : oneForwardOneBackward(stages, stage, microBatches, 1)) {
        actions.push_back(action);
        if (action.kind == ActionKind::Backward && action.microBatch - weightGrads >= stage) {
            actions.push_back({.kind = ActionKind::WeightGrad, .microBatch = weightGrads++, .chunk = 0});
        }
    }
    while (weightGrads < microBatches) {
        actions.push_back({.kind = ActionKind::WeightGrad, .microBatch = weightGrads++, .chunk = 0});
    }
    return actions;
}

std::optional<Peer> peerAt(int part, int stages, int chunks) {
    if (part < 0 || part >= stages * chunks) {
        return std::nullopt;
    }
    return Peer{.stage = part % stages, .chunk = part / stages};
}

} // namespace

Result<ScheduleKind> scheduleKind(std::string_view name) {
    for (const ScheduleKind kind : {ScheduleKind::OneForwardOneBackward, ScheduleKind::Interleaved}) {
        if (name == parallel::name(kind)) {
            return kind;
        }
    }
    return fail(ErrorCode::InvalidArgument, "\"" + std::string(name) + "\" is not one of 1f1b, interleaved",
                "[parallel] schedule");
}

std::string_view name(ScheduleKind kind) {
    switch (kind) {
    case ScheduleKind::OneForwardOneBackward:
        return "1f1b";
    case ScheduleKind::Interleaved:
        return "interleaved";
    case ScheduleKind::ZeroBubble:
        return "zero-bubble";
    }
    return "";
}

std::string text(const Action& action) {
    const char* kind = action.kind == ActionKind::Forward    ? "forward"
                       : action.kind == ActionKind::Backward ? "backward"
                                                             : "weight gradient";
    return std::string(kind) + " of micro-batch " + number(action.microBatch) + ", chunk " + number(action.chunk);
}

Result<std::vector<Action>> makeSchedule(ScheduleKind kind, int stages, int stage, int microBatches, int chunks) {
    if (auto sound = checkArguments(kind, stages, stage, microBatches, chunks); !sound) {
        return tl::unexpected(sound.error());
    }
    if (kind == ScheduleKind::ZeroBubble) {
        return zeroBubble(stages, stage, microBatches);
    }
    return oneForwardOneBackward(stages, stage, microBatches, chunks);
}

Result<std::vector<std::vector<Action>>> makeSchedules(ScheduleKind kind, int stages, int microBatches, int chunks) {
    std::vector<std::vector<Action>> all;
    for (int stage = 0; stage < std::max(stages, 1); ++stage) {
        auto list = makeSchedule(kind, stages, stage, microBatches, chunks);
        if (!list) {
            return tl::unexpected(list.error());
        }
        all.push_back(std::move(*list));
    }
    return all;
}

std::optional<Peer> source(const Action& action, int stages, int stage, int chunks) {
    if (action.kind == ActionKind::WeightGrad) {
        return std::nullopt;
    }
    return peerAt(action.chunk * stages + stage + (action.kind == ActionKind::Forward ? -1 : 1), stages, chunks);
}

std::optional<Peer> target(const Action& action, int stages, int stage, int chunks) {
    if (action.kind == ActionKind::WeightGrad) {
        return std::nullopt;
    }
    return peerAt(action.chunk * stages + stage + (action.kind == ActionKind::Forward ? 1 : -1), stages, chunks);
}

int messageTag(const Action& action) {
    return 2 * action.chunk + (action.kind == ActionKind::Backward ? 1 : 0);
}

} // namespace telehelm::parallel
