// SPDX-License-Identifier: Apache-2.0
// A tiny corpus, a tiny config and a trainer link that records: training in this process within a second.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/trainer.h"

namespace telehelm::tests {

/// Three domains (WebText, Code, Book) of a few thousand tokens each; the text has patterns to learn.
void makeTinyCorpus(const std::filesystem::path& dir);
/// One layer, width 32, 6 sequences of 32 tokens a step, 20 steps; `corpus` goes into [data].
[[nodiscard]] std::string tinyConfig(const std::filesystem::path& corpus);
[[nodiscard]] config::RunConfig parsed(const std::string& toml);

/// Keeps everything; hands out commands when their step is trained.
class RecordingLink final : public ipc::TrainerLink {
public:
    void emit(const char* series, const ipc::Point& point) override { points[series].push_back(point); }
    void emit(ipc::Event event) override { events.push_back(std::move(event)); }
    void emit(ipc::CommandOutcome outcome) override { outcomes.push_back(std::move(outcome)); }
    void setProgress(std::int64_t step, std::int64_t, const std::string& phase) override;
    std::vector<ipc::Command> takeCommands() override;
    bool flush(int) override { return true; }
    [[nodiscard]] ipc::LinkCounters counters() const override { return {}; }

    /// Comes at the boundary after `step`; with `polls` > 0 only after the run was seen paused that often.
    void plan(std::int64_t step, ipc::Command command, int polls = 0) { m_planned.push_back({step, polls, std::move(command)}); }
    [[nodiscard]] std::vector<double> values(const std::string& series) const;
    [[nodiscard]] std::vector<ipc::Event> eventsOf(ipc::EventKind kind) const;
    /// "applied 6: text" of a command; "" when there is none. More than one outcome: separated by " | ".
    [[nodiscard]] std::string outcome(const std::string& id) const;

    std::map<std::string, std::vector<ipc::Point>> points;
    std::vector<ipc::Event> events;
    std::vector<ipc::CommandOutcome> outcomes;
    int pausedPolls = 0;

private:
    struct Planned {
        std::int64_t step;
        int polls;
        ipc::Command command;
    };
    std::vector<Planned> m_planned;
    std::int64_t m_step = 0;
};

[[nodiscard]] ipc::Command command(const std::string& id, ipc::CommandKind kind);

struct Training {
    train::TrainEnd end;
    std::vector<float> parameters;              // of rank 0
    std::vector<std::vector<float>> ofAllRanks; // the same of each rank, on whatever mesh
};
/// All ranks of the config's mesh in this process, a thread each; `link` is rank 0's. Throws std::runtime_error with the error's text
/// where a rank cannot start or go on. `adjust` is called on each rank's thread.
Training runTraining(
    const config::RunConfig& config, const std::filesystem::path& checkpoints, RecordingLink& link, std::uint32_t attempt = 1,
    const std::function<void(train::TrainerOptions&)>& adjust = [](train::TrainerOptions&) {});

} // namespace telehelm::tests
