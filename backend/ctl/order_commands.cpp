// SPDX-License-Identifier: Apache-2.0
// Subcommands that order something of a run and wait for what becomes of it.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ostream>
#include <thread>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"

namespace telehelm::ctl {
namespace {

using namespace std::chrono_literals;

/// "WebText=40" … in percent → shares.
Result<ipc::Mixture> parseMixture(const std::vector<std::string>& words) {
    ipc::Mixture mixture;
    double sum = 0;
    for (const std::string& word : words) {
        const auto equals = word.find('=');
        double percent = 0;
        const char* const end = word.data() + word.size();
        const bool isNumber = equals != std::string::npos && equals > 0 && [&] {
            const auto parsed = std::from_chars(word.data() + equals + 1, end, percent);
            return parsed.ec == std::errc{} && (parsed.ptr == end || std::string_view(parsed.ptr, static_cast<std::size_t>(end - parsed.ptr)) == "%");
        }();
        if (!isNumber || !std::isfinite(percent))
            return fail(ErrorCode::InvalidArgument, "a share is DOMAIN=PERCENT, for example WebText=40", "“" + word + "”");
        if (percent < 0)
            return fail(ErrorCode::InvalidArgument, "a share cannot be negative", "“" + word + "”");
        if (!mixture.emplace(word.substr(0, equals), percent / 100).second)
            return fail(ErrorCode::InvalidArgument, word.substr(0, equals) + " is named twice", "“" + word + "”");
        sum += percent;
    }
    if (std::abs(sum - 100) > 1e-6)
        return fail(ErrorCode::InvalidArgument, "the shares add up to " + shortNumber(sum, 8) + " %, they must add up to 100 %", "mixture");
    return mixture;
}

Result<ipc::Command> makeCommand(ipc::CommandKind kind, const OrderArguments& arguments) {
    ipc::Command command;
    command.id = ipc::newUuid();
    command.key = {arguments.run, 0};
    command.kind = kind;
    command.author = operatorName();
    command.host = hostName();
    command.reason = arguments.reason;
    command.atStep = arguments.atStep;
    command.saveCheckpoint = !arguments.noCheckpoint;
    command.lrScale = arguments.lrScale;
    command.requestedUs = ipc::nowUs();
    if (kind == ipc::CommandKind::SetMixture) {
        auto mixture = parseMixture(arguments.shares);
        if (!mixture)
            return tl::unexpected(mixture.error());
        command.mixture = std::move(*mixture);
    }
    if (kind != ipc::CommandKind::Restart)
        return command;
    ipc::RestartOptions& restart = command.restart.emplace();
    restart.checkpointAttempt = arguments.checkpointAttempt;
    restart.checkpointStep = arguments.checkpointStep;
    restart.lrScale = arguments.restartLrScale;
    restart.clipGrad = arguments.clipGrad;
    restart.dataSeed = arguments.dataSeed;
    restart.skipBatches = arguments.skipBatches;
    if (!arguments.restartShares.empty()) {
        auto mixture = parseMixture(arguments.restartShares);
        if (!mixture)
            return tl::unexpected(mixture.error());
        restart.mixture = std::move(*mixture);
    }
    return command;
}

bool isEnded(const ipc::Command& command) {
    return command.state == ipc::CommandState::Applied || command.state == ipc::CommandState::Rejected ||
           command.state == ipc::CommandState::Failed;
}

/// The outcome, or the last known state when the time is over.
Result<ipc::Command> waitForOutcome(ipc::ControlApi& api, ipc::Command command, int timeoutS) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(timeoutS);
    auto pause = 20ms;
    while (!isEnded(command) && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(pause);
        pause = std::min<std::chrono::milliseconds>(pause * 2, 250ms);
        auto now = api.getCommand(command.id);
        if (now)
            command = std::move(*now);
        else if (now.error().code != ErrorCode::Unavailable) // a daemon that restarts knows the command afterwards
            return now;
    }
    return command;
}

/// A stop is applied when the trainer stands; the run has stopped when its processes are gone too. False when that takes too long.
bool waitForEnd(ipc::ControlApi& api, const ipc::AttemptKey& key, int timeoutS) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(timeoutS);
    while (std::chrono::steady_clock::now() < until) {
        const auto run = api.getRun(key.run);
        const bool isGone = !run && run.error().code != ErrorCode::Unavailable;
        if (isGone || (run && std::ranges::none_of(run->attempts, [&](const ipc::AttemptInfo& attempt) {
                return attempt.key == key && isLive(attempt.state);
            })))
            return true;
        std::this_thread::sleep_for(50ms);
    }
    return false;
}

int report(const Call& call, const ipc::Command& command, bool waited) {
    const bool isBad = command.state == ipc::CommandState::Rejected || command.state == ipc::CommandState::Failed;
    if (call.common.json)
        call.terminal.out << toJson(command).dump(2) << "\n";
    if (isBad) {
        call.terminal.err << "telehelmctl: " << command.key.run << ": " << name(command.kind) << " " << name(command.state) << ": "
                          << command.outcome << "\n";
        return command.state == ipc::CommandState::Rejected ? kRefused : kFailed;
    }
    if (isEnded(command) || !waited) {
        if (!call.common.json) {
            call.terminal.out << command.key.run << ": " << name(command.kind) << " "
                              << paint(name(command.state), colourOf(command.state), call.terminal.hasColour);
            if (command.appliedStep >= 0)
                call.terminal.out << " at step " << withSeparators(command.appliedStep);
            call.terminal.out << (command.outcome.empty() ? "" : ": " + command.outcome) << "\n";
            if (!waited)
                call.terminal.out << "  command " << command.id << "; “telehelmctl audit " << command.key.run << "” shows its outcome\n";
        }
        return kOk;
    }
    call.terminal.err << "telehelmctl: " << command.key.run << ": " << name(command.kind) << " is " << name(command.state)
                      << " and has no outcome yet; it stands, and “telehelmctl audit " << command.key.run << "” shows what becomes of it\n";
    return kFailed;
}

} // namespace

int order(const Call& call, ipc::CommandKind kind, const OrderArguments& arguments) {
    const auto command = makeCommand(kind, arguments);
    if (!command) {
        call.terminal.err << "telehelmctl: " << command.error().text() << "\n";
        return kUsage;
    }
    return withDaemon(call, [&](Connected& daemon) -> int {
        auto answer = daemon.api->submit(*command);
        if (!answer)
            return complain(call, answer.error());
        if (!arguments.noWait)
            answer = waitForOutcome(*daemon.api, std::move(*answer), arguments.timeoutS);
        if (!answer)
            return complain(call, answer.error());
        if (kind == ipc::CommandKind::Stop && !arguments.noWait && answer->state == ipc::CommandState::Applied &&
            !waitForEnd(*daemon.api, answer->key, arguments.timeoutS)) {
            call.terminal.err << "telehelmctl: " << answer->key.run << ": the trainer has stopped, but its processes have not ended after "
                              << arguments.timeoutS << " s; “telehelmctl show " << answer->key.run << "” tells when they have\n";
            return kFailed;
        }
        return report(call, *answer, !arguments.noWait);
    });
}

} // namespace telehelm::ctl
