// SPDX-License-Identifier: Apache-2.0
// What the recorded frames in tests/golden/ say, as values. A recorded version's values stay as they were; a new version adds its own.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/trainer_link.h"
#include "telehelm/ipc/types.h"

namespace telehelm::ipc::golden {

inline Event event() {
    return {17, {"demo", 2}, EventKind::CheckpointSaved, Severity::Benign, 400, 819'200, 1'700'000'000'123'456, "saved 唐诗", {{"bytes", "12"}, {"path", "/x"}}};
}
inline CommandOutcome outcome() { return {"5b0c7a52-0000-4000-8000-000000000001", CommandState::Applied, 421, "held before step 421"}; }

inline TelemetryBatch batch() {
    constexpr double kInf = std::numeric_limits<double>::infinity();
    TelemetryBatch b;
    b.key = {"demo", 2};
    b.sequence = 99;
    b.emittedUs = 1'700'000'000'000'000;
    b.series = {{"train/loss", {{419, 858'112, 1'700'000'000'000'000, 2.5}, {420, 860'160, 1'700'000'000'250'000, -kInf}, {3, -1, 5, 9.75}}},
                {"rank/3/step_ms", {{420, 860'160, 1'700'000'000'250'001, std::numeric_limits<double>::denorm_min()}}},
                {"train/grad_norm", {{std::numeric_limits<std::int64_t>::max(), 0, -7, kInf}}}};
    b.events = {event()};
    b.outcomes = {outcome()};
    return b;
}

inline Command command() {
    Command c;
    c.id = "5b0c7a52-0000-4000-8000-000000000001";
    c.key = {"demo", 2};
    c.kind = CommandKind::Restart;
    c.author = "ops";
    c.host = "bridge";
    c.reason = "loss rose after step 420";
    c.atStep = 421;
    c.saveCheckpoint = false;
    c.lrScale = 0.5;
    c.mixture = {{"Code", 0.25}, {"WebText", 0.75}};
    c.restart = RestartOptions{1, 400, 0.5, 0.8, std::uint64_t{7}, 12, Mixture{{"Code", 1.0}}};
    c.state = CommandState::Applied;
    c.outcome = "attempt 3 goes on from step 400";
    c.appliedStep = 401;
    c.newAttempt = 3;
    c.diff = "-lr_scale = 1.0\n+lr_scale = 0.5\n";
    c.requestedUs = 1;
    c.acceptedUs = 2;
    c.endedUs = 3;
    return c;
}

inline AttemptInfo attempt() {
    AttemptInfo a;
    a.key = {"demo", 2};
    a.parent = 1;
    a.forkStep = 400;
    a.state = AttemptState::Pausing;
    a.stateText = "asked to";
    a.startedUs = 10;
    a.endedUs = 11;
    a.step = 420;
    a.tokens = 860'160;
    a.lastHeardUs = 12;
    a.pointsEmitted = 1000;
    a.pointsStored = 990;
    a.lastSequence = 99;
    a.configToml = "name = \"demo\"\n";
    a.runDir = "/state/runs/demo/attempt-2";
    return a;
}

inline RunInfo run() {
    RunInfo r;
    r.run = "demo";
    r.description = "a demo";
    r.createdUs = 9;
    r.attempts = {attempt()};
    r.parameters = 1'234'567;
    r.tensorParallel = 2;
    r.pipelineParallel = 3;
    r.dataParallel = 4;
    r.device = "CPU, 24 ranks";
    r.totalSteps = 1000;
    r.tokensPerStep = 2048;
    r.totalTokens = 2'048'000;
    r.learningRate = 1e-3;
    r.minimumLearningRate = 1e-5;
    r.clipGrad = 1;
    r.lrSchedule = "cosine";
    r.validationEvery = 50;
    r.checkpointEvery = 100;
    r.domains = {{"Code", "code", 1000, 500, 0.25}};
    return r;
}

/// One with points, one with a change of the attempt, one with a command: as they were published, without epoch, number and time.
inline std::vector<News> news() {
    std::vector<News> all(3);
    all[0].batch = batch();
    all[1].batch.key = all[2].batch.key = {"demo", 2};
    all[1].attempt = attempt();
    all[1].attempt->configToml.clear();
    all[2].command = command();
    return all;
}

inline HelloInfo hello() {
    return {1, "telehelmd 0.1.0", "epoch-1", "/state", 4711, "tcp://127.0.0.1:7444", "tcp://127.0.0.1:7445", 8, 123'456};
}
inline TrainerHello trainerHello() { return {{"demo", 2}, 4712, 24, "node-1", "mpirun pid 4711", 98}; }

inline SeriesInfo seriesInfo() { return {{"demo", 2}, "train/loss", 420, 1, 420, 2.5}; }

inline SeriesSegment segment() {
    SeriesSegment s;
    s.key = {"demo", 2};
    s.name = "train/loss";
    s.superseded = true;
    s.level = 1;
    Bucket raw{5, 5, 50, 50, 500, 500, 2.5, 2.5, 2.5, 2.5, 2.5, 1, 0, 2.25};
    Bucket merged{6, 21, 60, 210, 600, 2100, 2.5, 3.5, -1.5, 9.25, 40.5, 16, 2, 2.75};
    s.buckets = {raw, merged};
    s.ema = {0.75, 17};
    return s;
}

inline CheckpointInfo checkpoint() { return {{"demo", 2}, 400, 819'200, 7, 1 << 20, "/state/c/400", true, "", 2.5, 0.25}; }

} // namespace telehelm::ipc::golden
