// SPDX-License-Identifier: Apache-2.0
// Pipeline schedules as plain data: what each stage does in which order, and a checker that proves a schedule sound without
// running it. Pure arithmetic; any thread.
//
// Words. p stages, m micro-batches, c chunks per stage. The layers are cut into p × c parts; part v = chunk × p + stage lies on
// that stage, so an activation walks stage 0, 1, … p−1 with chunk 0, then again with chunk 1, and so on.
//
// How a runner executes a list, action by action:
//   1. receive: if source() names another stage, a blocking receive from it with the tag messageTag(action); if it names the
//      stage itself (p = 1), the value was left there by an earlier action; if it is empty, the action begins a chain
//      (tokens for the first part's Forward, the loss for the last part's Backward);
//   2. compute;
//   3. send: if target() names another stage, post the send without waiting for its receiver (MPI_Isend) and keep the buffer
//      until it has gone. A send that blocks until it is received (Delivery::Rendezvous) deadlocks 1F1B: see the checker.
//      Gradients go out of a ring of gradientBuffers() buffers: before one is filled again, what it held must have been received.
// Messages between two stages with the same tag are received in the order in which they were sent; the checker proves it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::parallel {

enum class ActionKind : std::uint8_t {
    Forward,
    Backward,   // both gradients; in a schedule with WeightGrad only the one of the input
    WeightGrad, // the gradient of the weights, put off
};

struct Action {
    ActionKind kind;
    std::int32_t microBatch;
    std::int32_t chunk;
    bool operator==(const Action&) const = default;
};

enum class ScheduleKind : std::uint8_t {
    OneForwardOneBackward, // [parallel] schedule = "1f1b"
    Interleaved,           // "interleaved": 1F1B over c > 1 chunks per stage
    ZeroBubble,            // ZB-H1: 1F1B whose weight gradients fill the gaps, with 1F1B's peak memory
};

/// "1f1b" and "interleaved", as in the config.
[[nodiscard]] Result<ScheduleKind> scheduleKind(std::string_view name);
[[nodiscard]] std::string_view name(ScheduleKind kind);
/// "forward of micro-batch 3, chunk 1"
[[nodiscard]] std::string text(const Action& action);

/// Stage `stage`'s list. Refused with what does not divide or fit what.
[[nodiscard]] Result<std::vector<Action>> makeSchedule(ScheduleKind kind, int stages, int stage, int microBatches, int chunks);
/// All stages' lists.
[[nodiscard]] Result<std::vector<std::vector<Action>>> makeSchedules(ScheduleKind kind, int stages, int microBatches, int chunks);

/// The stage and chunk on the other side of a message.
struct Peer {
    int stage;
    std::int32_t chunk;
    bool operator==(const Peer&) const = default;
};
[[nodiscard]] std::optional<Peer> source(const Action& action, int stages, int stage, int chunks);
[[nodiscard]] std::optional<Peer> target(const Action& action, int stages, int stage, int chunks);
/// The tag under which `action` receives. A sender asks for its target's: messageTag({kind, microBatch, target()->chunk}).
[[nodiscard]] int messageTag(const Action& action);

enum class Delivery : std::uint8_t {
    Posted,     // a send never waits: what the runner does
    Rendezvous, // a send waits until its receiver takes it
};

/// What an action costs; the unit is free.
struct ActionCosts {
    double forward = 1, backward = 2; // of a whole stage (all its chunks), one micro-batch
    double weightGradShare = 0.5;     // of `backward`, where the schedule has WeightGrad
    std::vector<double> parts;        // relative weight of each part v, mean 1; empty: all alike
};

struct StageReport {
    double busy = 0;                       // in the costs' unit
    std::int64_t peakActivations = 0;      // (micro-batch, chunk) pairs whose activations are held at once
    std::vector<std::int64_t> peakByChunk; // the same for each chunk alone
    std::int64_t sentGradients = 0;        // in a step
    std::int64_t peakGradients = 0;        // of them, posted and not yet received at once
};

struct ScheduleReport {
    double length = 0;      // from the first action's start to the last one's end
    double bubbleShare = 0; // of the stages' time: 1 − Σ busy / (p × length)
    std::vector<StageReport> stages;
};

/// Proves that the lists of all stages contain every (micro-batch, chunk) exactly once forward and backward in a valid order,
/// that messages match and that nothing waits for ever; else says which stage waits for what.
[[nodiscard]] Result<ScheduleReport> checkSchedule(const std::vector<std::vector<Action>>& stages, int microBatches, int chunks,
                                                   const ActionCosts& costs = {}, Delivery delivery = Delivery::Posted);
/// The same where each stage has only so many buffers for gradients on their way.
[[nodiscard]] Result<ScheduleReport> checkBuffers(const std::vector<std::vector<Action>>& stages, int microBatches, int chunks,
                                                  const std::vector<std::int64_t>& buffers, const ActionCosts& costs = {});
/// Refused where messages of one kind from a stage to its neighbour are not received in the order in which they are sent, whatever
/// their tags: what a way between two devices, which knows no tags, asks.
[[nodiscard]] Result<void> checkOrder(const std::vector<std::vector<Action>>& stages, int chunks);
/// How many each stage gets: the peak of gradients on their way, at least two, none where it sends none. With them nothing waits
/// for ever, and where all parts cost alike nothing waits longer than with a buffer for every gradient.
[[nodiscard]] Result<std::vector<std::int64_t>> gradientBuffers(const std::vector<std::vector<Action>>& stages, int microBatches,
                                                                int chunks);

} // namespace telehelm::parallel
