// SPDX-License-Identifier: Apache-2.0
#include "train/command_desk.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "train/mixture.h"

namespace telehelm::train {

using ipc::CommandKind;
using ipc::CommandState;

void CommandDesk::reject(const ipc::Command& command, const std::string& why) {
    m_telemetry.outcome(command.id, CommandState::Rejected, -1, why);
}

void CommandDesk::collect(std::int64_t next) {
    for (const ipc::Command& command : m_telemetry.takeCommands()) {
        handle(command, next);
    }
}

void CommandDesk::handle(const ipc::Command& command, std::int64_t next) {
    switch (command.kind) {
    case CommandKind::Pause:
        return handlePause(command, next);
    case CommandKind::Resume:
        return handleResume(command, next);
    case CommandKind::Checkpoint:
        m_saves.push_back({command.id, -1});
        return;
    case CommandKind::SetMixture:
        return handleMixture(command, next);
    case CommandKind::SetLrScale:
        return handleLrScale(command);
    case CommandKind::Stop:
        if (m_stop) {
            return reject(command, "The run is stopping already.");
        }
        m_stop = command;
        return;
    case CommandKind::Restart:
        return reject(command, "A restart makes a new attempt: ask the daemon, not the trainer.");
    }
    reject(command, "This trainer does not know that command.");
}

void CommandDesk::handlePause(const ipc::Command& command, std::int64_t next) {
    if (m_holding) {
        m_telemetry.outcome(command.id, CommandState::Applied, next, "Already held before step " + std::to_string(next) + ".");
        return;
    }
    if (command.atStep >= 0 && command.atStep < next) {
        return reject(command, "Step " + std::to_string(command.atStep) +
                                   " has been trained; the earliest pause is before step " + std::to_string(next) + ".");
    }
    m_pauses.push_back({command.id, command.atStep < 0 ? next : command.atStep});
}

void CommandDesk::handleResume(const ipc::Command& command, std::int64_t next) {
    if (!m_holding && m_pauses.empty()) {
        return reject(command, "The run is not paused.");
    }
    for (const Waiting& pause : m_pauses) {
        m_telemetry.outcome(pause.id, CommandState::Rejected, -1, "Withdrawn by a resume before it began.");
    }
    m_pauses.clear();
    m_holding = false;
    m_telemetry.outcome(command.id, CommandState::Applied, next, "Resumes with step " + std::to_string(next) + ".");
}

void CommandDesk::answerSaved() {
    std::erase_if(m_saves, [&](const Waiting& save) {
        if (save.step < 0) {
            m_telemetry.outcome(save.id, CommandState::Applied, m_savedStep,
                                "The checkpoint of step " + std::to_string(m_savedStep) + " is there already.");
        }
        return save.step < 0;
    });
}

void CommandDesk::handleMixture(const ipc::Command& command, std::int64_t next) {
    const std::int64_t step = command.atStep < 0 ? next : command.atStep;
    if (step < next) {
        return reject(command, "Step " + std::to_string(step) + " has been trained; the earliest step for a new mixture is " +
                                   std::to_string(next) + ".");
    }
    auto shares = sharesInOrder(m_corpus, command.mixture, 1e-6);
    if (!shares) {
        return reject(command, shares.error().text() + ".");
    }
    data::MixtureChange change{
        .step = step, .shares = std::move(*shares), .seed = m_sampler.history().back().seed, .skipBatches = 0};
    if (m_sampler.history().back().step == step) {
        change.skipBatches = m_sampler.history().back().skipBatches; // it replaces that entry; what it skipped stays skipped
    }
    if (auto applied = m_sampler.change(change); !applied) {
        return reject(command, applied.error().text() + ".");
    }
    std::erase_if(m_mixturesDue, [&](const Waiting& other) {
        if (other.step == step) {
            m_telemetry.outcome(other.id, CommandState::Rejected, -1, "Replaced by a later command for the same step.");
        }
        return other.step == step;
    });
    m_mixtures.push_back(std::move(change));
    m_mixturesDue.push_back({command.id, step});
}

void CommandDesk::handleLrScale(const ipc::Command& command) {
    if (!(command.lrScale >= 1e-6 && command.lrScale <= 1e3)) {
        std::ostringstream text;
        text << "A learning-rate scale of " << command.lrScale << " is out of range; 0.000001 to 1000 is accepted.";
        return reject(command, text.str());
    }
    if (m_lrCommand) {
        m_telemetry.outcome(m_lrCommand->id, CommandState::Rejected, -1, "Replaced by a later command for the same step.");
    }
    m_lrScale = command.lrScale;
    m_lrCommand = Waiting{command.id, 0};
}

Word CommandDesk::word(std::int64_t next) {
    if (savedAt(next - 1)) {
        answerSaved();
    }
    Word word;
    const bool pauseDue = std::ranges::any_of(m_pauses, [&](const Waiting& pause) { return pause.step <= next; });
    word[Word::Hold] = m_holding || pauseDue ? 1 : 0;
    word[Word::Save] = std::ranges::any_of(m_saves, [](const Waiting& save) { return save.step < 0; }) ? 1 : 0;
    word[Word::Stop] = m_stop ? 1 : 0;
    word[Word::SaveAtStop] = m_stop && m_stop->saveCheckpoint ? 1 : 0;
    word[Word::LrScale] = m_lrScale;
    word[Word::Mixture] = m_mixtures.empty() ? 0 : 1;
    return word;
}

data::MixtureChange CommandDesk::takeMixture() {
    data::MixtureChange change = std::move(m_mixtures.front());
    m_mixtures.pop_front();
    return change;
}

void CommandDesk::held(std::int64_t next) {
    m_holding = true;
    std::erase_if(m_pauses, [&](const Waiting& pause) {
        if (pause.step <= next) {
            m_telemetry.outcome(pause.id, CommandState::Applied, next,
                                "Held before step " + std::to_string(next) + " on all ranks.");
        }
        return pause.step <= next;
    });
}

void CommandDesk::scaled(std::int64_t next) {
    if (m_lrCommand) {
        std::ostringstream text;
        text << "Both learning rates are scaled by " << m_lrScale << " from step " << next << " on.";
        m_telemetry.outcome(m_lrCommand->id, CommandState::Applied, next, text.str());
    }
    m_lrCommand.reset();
    m_lrScale = 0;
}

void CommandDesk::saveBegan(std::int64_t step) {
    for (Waiting& save : m_saves) {
        save.step = save.step < 0 ? step : save.step;
    }
}

void CommandDesk::saveEnded(const SaveReport& report) {
    const bool saved = report.failure.empty();
    m_savedStep = saved ? report.step : m_savedStep;
    std::erase_if(m_saves, [&](const Waiting& save) {
        if (save.step == report.step) {
            m_telemetry.outcome(save.id, saved ? CommandState::Applied : CommandState::Failed, report.step,
                                saved ? "Saved as " + report.path.filename().string() + "." : report.failure);
        }
        return save.step == report.step;
    });
}

void CommandDesk::stopped(std::int64_t lastStep, const std::string& text) {
    if (m_stop) {
        m_telemetry.outcome(m_stop->id, CommandState::Applied, lastStep, text);
        m_stop.reset();
    }
}

void CommandDesk::mixturesDue(std::int64_t next, std::int64_t tokens) {
    const auto& history = m_sampler.history();
    const auto inForce = std::ranges::find(history, next, &data::MixtureChange::step);
    if (inForce == history.end() || next <= 1) {
        return;
    }
    const std::string text = mixtureText(named(m_corpus, inForce->shares));
    std::map<std::string, std::string> facts = {{"seed", std::to_string(inForce->seed)},
                                                {"skip_batches", std::to_string(inForce->skipBatches)},
                                                {"at_step", std::to_string(next)}};
    for (const auto& [domain, share] : named(m_corpus, inForce->shares)) {
        facts["share/" + domain] = std::to_string(share);
    }
    m_telemetry.eventAt(next, tokens, ipc::EventKind::MixtureChanged, ipc::Severity::Info,
                        "From step " + std::to_string(next) + " on: " + text + ".", std::move(facts));
    std::erase_if(m_mixturesDue, [&](const Waiting& due) {
        if (due.step == next) {
            m_telemetry.outcome(due.id, CommandState::Applied, next, "In force from step " + std::to_string(next) + " on.");
        }
        return due.step == next;
    });
}

void CommandDesk::close(const std::string& why) {
    for (const ipc::Command& command : m_telemetry.takeCommands()) {
        reject(command, why);
    }
    for (const std::vector<Waiting>* open : {&m_pauses, &m_saves, &m_mixturesDue}) {
        for (const Waiting& waiting : *open) {
            m_telemetry.outcome(waiting.id, CommandState::Rejected, -1, why);
        }
    }
    if (m_lrCommand) {
        m_telemetry.outcome(m_lrCommand->id, CommandState::Rejected, -1, why);
    }
    m_pauses.clear();
    m_saves.clear();
    m_mixturesDue.clear();
    m_lrCommand.reset();
}

} // namespace telehelm::train
