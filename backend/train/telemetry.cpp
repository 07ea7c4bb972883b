// SPDX-License-Identifier: Apache-2.0
#include "train/telemetry.h"

#include <cstdio>

namespace telehelm::train {

void Telemetry::at(std::int64_t step, std::int64_t tokens, const char* phase) {
    m_step = step;
    m_tokens = tokens;
    if (m_link != nullptr) {
        m_link->setProgress(step, tokens, phase);
    }
}

void Telemetry::point(const std::string& series, double value) {
    if (m_link != nullptr) {
        m_link->emit(series.c_str(), {.step = m_step, .tokens = m_tokens, .wallUs = ipc::nowUs(), .value = value});
    }
}

void Telemetry::step(const StepFacts& facts) {
    point(ipc::series::kTrainLoss, facts.loss);
    point(ipc::series::kGradNorm, facts.gradNorm);
    point(ipc::series::kLearningRate, facts.rates.vector);
    point(ipc::series::kMatrixLearningRate, facts.rates.matrix);
    point(ipc::series::kTokensPerS, facts.tokensPerS);
    point(ipc::series::kStepMs, facts.stepMs);
    if (facts.mfu > 0) {
        point(ipc::series::kMfu, facts.mfu);
    }
}

void Telemetry::scores(const eval::Scores& scores) {
    for (const eval::DomainScore& score : scores.domains) {
        point(std::string(ipc::series::kValidLoss) + "/" + score.domain, score.loss());
        point(std::string(ipc::series::kBpb) + "/" + score.domain, score.bpb());
    }
    point(ipc::series::kValidLoss, scores.loss);
    point(ipc::series::kBpb, scores.bpb);
}

void Telemetry::event(ipc::EventKind kind, ipc::Severity severity, std::string text, std::map<std::string, std::string> facts) {
    eventAt(m_step, m_tokens, kind, severity, std::move(text), std::move(facts));
}

void Telemetry::eventAt(std::int64_t step, std::int64_t tokens, ipc::EventKind kind, ipc::Severity severity, std::string text,
                        std::map<std::string, std::string> facts) {
    if (m_link == nullptr) {
        return;
    }
    ipc::Event event;
    event.key = m_key;
    event.kind = kind;
    event.severity = severity;
    event.step = step;
    event.tokens = tokens;
    event.wallUs = ipc::nowUs();
    event.text = std::move(text);
    event.facts = std::move(facts);
    m_link->emit(std::move(event));
}

void Telemetry::outcome(const std::string& command, ipc::CommandState state, std::int64_t step, std::string text) {
    if (m_link != nullptr) {
        m_link->emit(ipc::CommandOutcome{.id = command, .state = state, .step = step, .text = std::move(text)});
    }
}

void Telemetry::saved(const SaveReport& report) {
    const std::string step = std::to_string(report.step);
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.3f", report.seconds);
    if (report.failure.empty()) {
        eventAt(report.step, report.tokens, ipc::EventKind::CheckpointSaved, ipc::Severity::Info,
                "Checkpoint of step " + step + " saved in " + seconds + " s.",
                {{"path", report.path.string()},
                 {"bytes", std::to_string(report.bytes)},
                 {"seconds", seconds},
                 {"step", step},
                 {"tokens", std::to_string(report.tokens)}});
    } else {
        eventAt(report.step, report.tokens, ipc::EventKind::Note, ipc::Severity::Critical,
                "Checkpoint of step " + step + " could not be saved: " + report.failure + ".",
                {{"path", report.path.string()}, {"step", step}});
    }
}

std::vector<ipc::Command> Telemetry::takeCommands() const {
    return m_link != nullptr ? m_link->takeCommands() : std::vector<ipc::Command>();
}

} // namespace telehelm::train
