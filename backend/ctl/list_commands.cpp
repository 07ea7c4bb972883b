// SPDX-License-Identifier: Apache-2.0
// Subcommands that only look: runs, show, lineage, checkpoints, events, audit.
#include <ostream>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"

namespace telehelm::ctl {
namespace {

std::string stepText(std::int64_t step) { return step < 0 ? "-" : withSeparators(step); }

std::string progressText(const ipc::RunInfo& run, const ipc::AttemptInfo& attempt) {
    const std::string at = withSeparators(attempt.step);
    if (run.totalSteps <= 0)
        return at;
    return at + " / " + withSeparators(run.totalSteps) + " (" +
           percentText(static_cast<double>(attempt.step) / static_cast<double>(run.totalSteps)) + ")";
}

std::string originText(const ipc::AttemptInfo& attempt) {
    return attempt.parent == 0 ? "step 0" : "attempt " + std::to_string(attempt.parent) + ", step " + withSeparators(attempt.forkStep);
}

void printAttempts(std::ostream& out, const ipc::RunInfo& run, bool hasColour) {
    Table table({"ATTEMPT", "STATE", "STEP", "FROM", "STARTED", "ENDED", "POINTS", "WHY"});
    for (const ipc::AttemptInfo& a : run.attempts)
        table.add({std::to_string(a.key.attempt), {name(a.state), colourOf(a.state)}, withSeparators(a.step), originText(a),
                   timeText(a.startedUs), timeText(a.endedUs),
                   withSeparators(static_cast<std::int64_t>(a.pointsStored)) + " of " + withSeparators(static_cast<std::int64_t>(a.pointsEmitted)),
                   a.stateText.substr(0, a.stateText.find('\n'))});
    table.print(out, hasColour);
}

void printDomains(std::ostream& out, const ipc::RunInfo& run, bool hasColour) {
    Table table({"DOMAIN", "TARGET", "TOKENS SEEN", "ONE EPOCH", "LANGUAGES"});
    for (const ipc::DomainInfo& d : run.domains)
        table.add({d.name, percentText(d.target), withSeparators(d.tokensSeen), d.trainTokens > 0 ? withSeparators(d.trainTokens) : "-", d.languages});
    table.print(out, hasColour);
}

void printRun(std::ostream& out, const ipc::RunInfo& run, bool hasColour) {
    out << paint(run.run, Colour::Bold, hasColour) << (run.description.empty() ? "" : "  " + run.description) << "\n"
        << "  model      " << withSeparators(run.parameters) << " parameters on " << run.device << " (tensor " << run.tensorParallel
        << ", pipeline " << run.pipelineParallel << ", data " << run.dataParallel << ")\n"
        << "  length     " << withSeparators(run.totalSteps) << " steps of " << withSeparators(run.tokensPerStep) << " tokens\n"
        << "  rates      " << shortNumber(run.learningRate, 4) << " to " << shortNumber(run.minimumLearningRate, 4) << ", "
        << run.lrSchedule << "; clip " << shortNumber(run.clipGrad, 4) << "\n"
        << "  validates  every " << run.validationEvery << " steps; saves every " << run.checkpointEvery << " steps\n"
        << "  created    " << timeText(run.createdUs) << "\n";
    if (run.origin)
        out << "  imported   " << timeText(run.origin->importedUs) << " by " << run.origin->author << "@" << run.origin->host << " from " << run.origin->folder
            << (run.origin->ownName == run.run ? "" : ", where it is “" + run.origin->ownName + "”")
            << (run.origin->trainedOn.empty() ? "" : "; it trained on " + run.origin->trainedOn) << "\n";
    if (run.newest() != nullptr)
        out << "  folder     " << run.newest()->runDir << "\n";
    out << "\n";
    printAttempts(out, run, hasColour);
    if (!run.domains.empty()) {
        out << "\n";
        printDomains(out, run, hasColour);
    }
}

} // namespace

int listRuns(const Call& call, const ListArguments& arguments) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const auto runs = daemon.api->listRuns();
        if (!runs)
            return complain(call, runs.error());
        std::ostream& out = call.terminal.out;
        if (arguments.namesOnly) {
            for (const ipc::RunInfo& run : *runs)
                out << run.run << "\n";
            return kOk;
        }
        if (call.common.json) {
            out << toJson(*runs).dump(2) << "\n";
            return kOk;
        }
        Table table({"RUN", "STATE", "ATTEMPT", "STEP", "STARTED", "DEVICE"});
        for (const ipc::RunInfo& run : *runs)
            if (const ipc::AttemptInfo* a = run.newest())
                table.add({run.run, {name(a->state), colourOf(a->state)}, std::to_string(a->key.attempt), progressText(run, *a),
                           timeText(a->startedUs), run.device});
            else
                table.add({run.run, "no attempt yet", "-", "-", timeText(run.createdUs), run.device});
        if (table.empty())
            out << "no runs yet; start one with “telehelmctl start CONFIG.toml”\n";
        else
            table.print(out, call.terminal.hasColour);
        return kOk;
    });
}

int showRun(const Call& call, const std::string& run) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const auto info = daemon.api->getRun(run);
        if (!info)
            return complain(call, info.error());
        if (call.common.json)
            call.terminal.out << toJson(*info).dump(2) << "\n";
        else
            printRun(call.terminal.out, *info, call.terminal.hasColour);
        return kOk;
    });
}

int showLineage(const Call& call, const std::string& run) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const auto lineage = daemon.api->lineage(run);
        if (!lineage)
            return complain(call, lineage.error());
        std::ostream& out = call.terminal.out;
        if (call.common.json) {
            out << toJson(*lineage).dump(2) << "\n";
            return kOk;
        }
        const auto seconds = [](std::int64_t us) { return durationText(static_cast<double>(us) / 1e6); };
        Table table({"ATTEMPT", "FROM", "ON THE CURVE", "ABANDONED", "STEPS LOST", "TOKENS LOST", "TIME LOST", "TAKEN OVER BY"});
        for (const ipc::LineageBranch& b : lineage->branches) {
            const bool lost = b.abandonedFrom <= b.abandonedTo;
            table.add({std::to_string(b.key.attempt), b.parent == 0 ? "step 0" : "attempt " + std::to_string(b.parent) + ", step " + withSeparators(b.forkStep),
                       b.isEffective ? Table::Cell("steps " + withSeparators(b.forkStep + 1) + " to " + withSeparators(b.effectiveTo), Colour::Green) : Table::Cell("-"),
                       lost ? Table::Cell("steps " + withSeparators(b.abandonedFrom) + " to " + withSeparators(b.abandonedTo), Colour::Yellow) : Table::Cell("-"),
                       withSeparators(b.lostSteps), withSeparators(b.lostTokens), seconds(b.lostWallUs), b.cutBy == 0 ? "-" : "attempt " + std::to_string(b.cutBy)});
        }
        table.print(out, call.terminal.hasColour);
        out << "\nlost in all: " << withSeparators(lineage->lostSteps) << " steps, " << withSeparators(lineage->lostTokens) << " tokens, "
            << seconds(lineage->lostWallUs) << "\n";
        return kOk;
    });
}

int listCheckpoints(const Call& call, const std::string& run) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const auto checkpoints = daemon.api->listCheckpoints(run);
        if (!checkpoints)
            return complain(call, checkpoints.error());
        if (call.common.json) {
            call.terminal.out << toJson(*checkpoints).dump(2) << "\n";
            return kOk;
        }
        Table table({"ATTEMPT", "STEP", "SAVED", "SIZE", "LOSS", "GRAD NORM", "STATE", "PATH"});
        for (const ipc::CheckpointInfo& c : *checkpoints)
            table.add({std::to_string(c.key.attempt), withSeparators(c.step), timeText(c.savedUs), byteText(c.bytes),
                       shortNumber(c.trainLoss, 5), shortNumber(c.gradNorm, 4),
                       c.damage.empty() ? Table::Cell(c.verified ? "verified" : "not verified") : Table::Cell(c.damage, Colour::Red), c.path});
        const auto info = table.empty() ? daemon.api->getRun(run) : Result<ipc::RunInfo>(ipc::RunInfo());
        if (!info)
            return complain(call, info.error());
        if (info->origin)
            call.terminal.out << run << " has no checkpoints here: it was imported, they stay in " << info->origin->folder << "\n";
        else if (table.empty())
            call.terminal.out << run << " has no checkpoints yet; “telehelmctl checkpoint " << run << "” saves one now\n";
        else
            table.print(call.terminal.out, call.terminal.hasColour);
        return kOk;
    });
}

int listEvents(const Call& call, const ListArguments& arguments) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        auto events = daemon.api->listEvents({arguments.run, 0, 0});
        if (!events)
            return complain(call, events.error());
        if (arguments.limit > 0 && events->size() > arguments.limit) // the newest ones
            events->erase(events->begin(), events->end() - static_cast<std::ptrdiff_t>(arguments.limit));
        if (call.common.json) {
            call.terminal.out << toJson(*events).dump(2) << "\n";
            return kOk;
        }
        Table table({"TIME", "RUN", "STEP", "WHAT", "TEXT"});
        for (const ipc::Event& e : *events)
            table.add({timeText(e.wallUs), e.key.run + "/" + std::to_string(e.key.attempt), stepText(e.step),
                       {name(e.kind), colourOf(e.severity)}, e.text.substr(0, e.text.find('\n'))});
        if (table.empty())
            call.terminal.out << "no events yet\n";
        else
            table.print(call.terminal.out, call.terminal.hasColour);
        return kOk;
    });
}

int listAudit(const Call& call, const ListArguments& arguments) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const auto commands = daemon.api->listCommands({arguments.run, 0, arguments.limit});
        if (!commands)
            return complain(call, commands.error());
        if (call.common.json) {
            call.terminal.out << toJson(*commands).dump(2) << "\n";
            return kOk;
        }
        Table table({"TIME", "RUN", "COMMAND", "STATE", "STEP", "WHO", "REASON", "OUTCOME"});
        for (const ipc::Command& c : *commands)
            table.add({timeText(c.requestedUs), c.key.run + "/" + std::to_string(c.key.attempt), name(c.kind),
                       {name(c.state), colourOf(c.state)}, stepText(c.appliedStep), c.author + "@" + c.host, c.reason.empty() ? "-" : c.reason,
                       c.outcome});
        if (table.empty())
            call.terminal.out << "no commands yet\n";
        else
            table.print(call.terminal.out, call.terminal.hasColour);
        return kOk;
    });
}

} // namespace telehelm::ctl
