// SPDX-License-Identifier: Apache-2.0
// What rank 0 tells of the run: points, events, outcomes. On every other rank there is no link and nothing happens.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "eval/validation.h"
#include "optim/schedule.h"
#include "telehelm/ipc/trainer_link.h"
#include "train/checkpoint_writer.h"

namespace telehelm::train {

/// One finished step, as it is shown and emitted.
struct StepFacts {
    std::int64_t step = 0, tokens = 0;
    double loss = 0, gradNorm = 0;
    optim::Rates rates;
    double stepMs = 0, tokensPerS = 0;
    double mfu = 0; // 0: the peak is not known
};

/// Trainer thread only.
class Telemetry {
public:
    /// `link` null: silent. Borrowed.
    Telemetry(ipc::TrainerLink* link, ipc::AttemptKey key) : m_link(link), m_key(std::move(key)) {}

    [[nodiscard]] bool speaks() const { return m_link != nullptr; }
    /// Where the run stands: stamps what follows.
    void at(std::int64_t step, std::int64_t tokens, const char* phase);
    void step(const StepFacts& facts);
    void point(const std::string& series, double value);
    void scores(const eval::Scores& scores);
    void event(ipc::EventKind kind, ipc::Severity severity, std::string text, std::map<std::string, std::string> facts = {});
    /// Of another step than the present one: a checkpoint is told of when it is whole, a mixture before its first step.
    void eventAt(std::int64_t step, std::int64_t tokens, ipc::EventKind kind, ipc::Severity severity, std::string text,
                 std::map<std::string, std::string> facts);
    void outcome(const std::string& command, ipc::CommandState state, std::int64_t step, std::string text);
    void saved(const SaveReport& report);
    [[nodiscard]] std::vector<ipc::Command> takeCommands() const;

private:
    ipc::TrainerLink* m_link;
    ipc::AttemptKey m_key;
    std::int64_t m_step = 0, m_tokens = 0;
};

} // namespace telehelm::train
