// SPDX-License-Identifier: Apache-2.0
#include "daemon/command_rules.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace telehelm::daemon {
namespace {

using ipc::AttemptState;
using ipc::Command;
using ipc::CommandKind;
using Refusal = std::optional<std::string>;

constexpr std::size_t kReasonLetters = 12;

std::size_t letters(const std::string& text) { // code points without the blanks around them
    const auto first = text.find_first_not_of(" \t\n"), last = text.find_last_not_of(" \t\n");
    if (first == std::string::npos)
        return 0;
    return static_cast<std::size_t>(std::count_if(text.begin() + static_cast<std::ptrdiff_t>(first),
                                                  text.begin() + static_cast<std::ptrdiff_t>(last) + 1,
                                                  [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

Refusal reasonRefusal(const Command& command) {
    const bool isNeeded = command.kind == CommandKind::Stop || command.kind == CommandKind::Restart || command.kind == CommandKind::SetMixture;
    if (!isNeeded || letters(command.reason) >= kReasonLetters)
        return std::nullopt;
    return std::string(name(command.kind)) + " needs a reason of at least " + std::to_string(kReasonLetters) + " characters; this one has " +
           std::to_string(letters(command.reason)) + ".";
}

std::string percent(double share) {
    std::ostringstream text;
    text.precision(6);
    text << share * 100 << " %";
    return text.str();
}

Refusal mixtureRefusal(const ipc::Mixture& mixture, const std::vector<std::string>& domains) {
    std::string known;
    for (const std::string& domain : domains)
        known += (known.empty() ? "" : ", ") + domain;
    if (mixture.empty())
        return "The mixture is empty; give a share for at least one of: " + known + ".";
    double sum = 0;
    for (const auto& [domain, share] : mixture) {
        if (std::find(domains.begin(), domains.end(), domain) == domains.end())
            return "The corpus has no domain “" + domain + "”; it has " + known + ".";
        if (!(share >= 0) || !std::isfinite(share))
            return domain + " has a share of " + percent(share) + "; shares are 0 % or more.";
        sum += share;
    }
    if (std::abs(sum - 1) > 1e-6)
        return "The shares add up to " + percent(sum) + "; they must add up to 100 %.";
    return std::nullopt;
}

Refusal stepRefusal(const Command& command, const CommandContext& context) {
    if (command.atStep < 0 || command.atStep > context.step)
        return std::nullopt;
    return "Step " + std::to_string(command.atStep) + " has been trained already (the run is at step " + std::to_string(context.step) +
           "); give a later step, or none for the next one.";
}

Refusal restartRefusal(const Command& command, const CommandContext& context) {
    if (context.isRestarting)
        return "A restart of this run is under way; wait until it is done.";
    if (!command.restart)
        return "A restart needs its options: checkpoint and what changes.";
    const ipc::RestartOptions& options = *command.restart;
    if (options.lrScale && !(*options.lrScale > 0 && *options.lrScale <= 1000))
        return "A learning-rate scale is above 0 and at most 1000; 1 leaves the rates as configured.";
    if (options.clipGrad && !(*options.clipGrad >= 0 && std::isfinite(*options.clipGrad)))
        return "A clip norm is 0 (off) or more.";
    if (options.skipBatches < 0)
        return "The number of batches to skip is 0 or more.";
    return options.mixture ? mixtureRefusal(*options.mixture, context.domains) : std::nullopt;
}

const char* verbOf(CommandKind kind) {
    switch (kind) {
    case CommandKind::Pause: return "pause";
    case CommandKind::Resume: return "resume";
    case CommandKind::Stop: return "stop";
    case CommandKind::Checkpoint: return "save a checkpoint";
    case CommandKind::SetMixture: return "change its mixture";
    case CommandKind::SetLrScale: return "scale its learning rates";
    case CommandKind::Restart: break;
    }
    return "restart";
}

Refusal pauseRefusal(const Command& command, const CommandContext& context) {
    if (context.state == AttemptState::Paused || context.state == AttemptState::Pausing)
        return std::string("The run is ") + (context.state == AttemptState::Paused ? "paused" : "about to pause") + " already; resume it, stop it or save a checkpoint.";
    if (context.state == AttemptState::Stopping)
        return "The run is stopping already.";
    return stepRefusal(command, context);
}

// Its trainer, if it still lives, is on a machine that nobody reaches from here; its files are another's.
Refusal importedRefusal(const Command& command, const CommandContext& context) {
    const ipc::RunOrigin& origin = *context.origin;
    const std::string imported = "The run was imported from " + origin.folder + (origin.trainedOn.empty() ? "" : " and trained on " + origin.trainedOn);
    if (command.kind != CommandKind::Restart)
        return imported + "; no trainer of it runs here that could " + verbOf(command.kind) + ".";
    return imported + ", so it cannot be restarted here. " +
           (context.importedCheckpoint.empty() ? "That folder has no checkpoint to go on from either."
                                               : "To go on from its newest checkpoint, start a new run whose config says [resume] checkpoint = \"" +
                                                     context.importedCheckpoint + "\".");
}

} // namespace

Refusal refusal(const Command& command, const CommandContext& context) {
    if (auto refused = reasonRefusal(command))
        return refused;
    if (command.key.attempt != 0 && command.key.attempt != context.newestAttempt)
        return "Attempt " + std::to_string(command.key.attempt) + " is not the newest; commands go to attempt " +
               std::to_string(context.newestAttempt) + ".";
    if (context.origin)
        return importedRefusal(command, context);
    if (command.kind == CommandKind::Restart)
        return restartRefusal(command, context);
    if (context.hasPendingRetry && (command.kind == CommandKind::Stop || command.kind == CommandKind::Pause))
        return std::nullopt; // it calls the restart off
    if (!isLive(context.state))
        return std::string("The run is not running (") + name(context.state) + (context.stateText.empty() ? "" : ": " + context.stateText) +
               "); it can be restarted from a checkpoint.";
    if (context.isRestarting)
        return "The run is being restarted; the new attempt will take commands.";
    switch (command.kind) {
    case CommandKind::Pause: return pauseRefusal(command, context);
    case CommandKind::Resume:
        if (context.state != AttemptState::Paused && context.state != AttemptState::Pausing)
            return std::string("The run is not paused (") + name(context.state) + "); only a paused run can be resumed.";
        return std::nullopt;
    case CommandKind::Stop:
        if (context.state == AttemptState::Stopping)
            return "The run is stopping already.";
        return std::nullopt;
    case CommandKind::Checkpoint:
        if (context.state == AttemptState::Stopping)
            return "The run is stopping; it saves a checkpoint then if it was asked to.";
        return std::nullopt;
    case CommandKind::SetMixture:
        if (auto refused = mixtureRefusal(command.mixture, context.domains))
            return refused;
        return stepRefusal(command, context);
    case CommandKind::SetLrScale:
        if (!(command.lrScale > 0 && command.lrScale <= 1000))
            return "A learning-rate scale is above 0 and at most 1000; 1 leaves the rates as configured.";
        return std::nullopt;
    case CommandKind::Restart: break;
    }
    return std::nullopt;
}

} // namespace telehelm::daemon
