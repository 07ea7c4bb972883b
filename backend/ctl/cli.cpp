// SPDX-License-Identifier: Apache-2.0
#include "ctl/cli.h"

#include <algorithm>
#include <memory>
#include <sstream>

#include <CLI/CLI.hpp>

#include "ctl/commands.h"

namespace telehelm::ctl {
namespace {

constexpr const char* kAbout =
    "telehelmctl lists, starts, watches and steers training runs from a terminal. It talks to the telehelmd of this\n"
    "computer (found through daemon.json in the state folder) or to the one that --server names.\n";
constexpr const char* kExamples =
    "Examples:\n"
    "  telehelmctl start configs/demo_cpu.toml                start a run; starts a local telehelmd when there is none\n"
    "  telehelmctl plan configs/tele_flm_52b.toml --flops 160T  memory, messages and time on paper\n"
    "  telehelmctl watch demo                                 a live line per step, progress, time left\n"
    "  telehelmctl pause demo                                 hold at the next step boundary; resume goes on\n"
    "  telehelmctl mixture demo WebText=40 Code=60 --at-step 500 --reason \"more code in the second half\"\n"
    "  telehelmctl restart demo --step 400 --lr-scale 0.5 --reason \"loss rose after step 420\"\n"
    "  telehelmctl stop demo --reason \"enough seen for today\"  saves a checkpoint, ends the run\n"
    "  telehelmctl delete old-demo --keep-checkpoints         an ended run goes: points, history, files; asks for its name first\n"
    "  telehelmctl import /mnt/usb/gpu-run                    a run that a machine without a daemon has trained\n"
    "  telehelmctl daemon stop                                stop the local telehelmd; training goes on\n"
    "  telehelmctl series demo train/loss --csv > loss.csv    one curve\n"
    "  telehelmctl export demo --format tfevents --out logs/  a whole run for TensorBoard; also csv and jsonl\n"
    "  telehelmctl audit demo --json                          who ordered what, and what became of it\n"
    "Exit status: 0 done, 1 failed, 2 wrong use, 3 no daemon reachable, 4 refused (says why), 5 not found.";

/// The lines of kExamples that show a subcommand, and what the exit status means.
std::string examplesOf(const std::string& subcommand) {
    std::istringstream lines(kExamples);
    std::string found, last;
    for (std::string line; std::getline(lines, line); last = line)
        if (line.starts_with("  telehelmctl " + subcommand + " "))
            found += line + "\n";
    return (found.empty() ? "" : "Example:\n" + found) + last;
}

/// Everything that CLI11 writes into; lives as long as the parse and the call.
struct Arguments {
    Common common;
    OrderArguments order;
    StartArguments start;
    PlanArguments plan;
    SeriesArguments series;
    ExportArguments exported;
    ListArguments list;
    WatchArguments watch;
    DaemonArguments daemon;
    DeleteArguments deletion;
    ImportArguments imported;
    std::string run, noteText, shell;
    std::function<int(const Call&)> chosen;
};

class CommandLine {
public:
    CommandLine() : m_app(kAbout, "telehelmctl") {
        m_app.footer(kExamples);
        m_app.require_subcommand(1);
        m_app.set_version_flag("--version", "telehelmctl 0.1.0");
        m_stateDir = defaultStateDir().string();
        m_app.add_option("--state-dir", m_stateDir, "State folder of the local daemon")->capture_default_str();
        m_app.add_option("--server", m_arguments.common.server, "HOST:PORT of the daemon, instead of the local one");
        m_app.add_flag("--json", m_arguments.common.json, "Print JSON: keys in snake_case, times in microseconds since 1970");
        addLooks();
        addOrders();
        addRest();
    }
    CLI::App& app() { return m_app; }
    Arguments& arguments() {
        m_arguments.common.stateDir = std::filesystem::absolute(m_stateDir);
        return m_arguments;
    }

private:
    CLI::App* add(const std::string& name, const std::string& about, std::function<int(const Call&)> action) {
        CLI::App* command = m_app.add_subcommand(name, about);
        command->footer(examplesOf(name));
        command->fallthrough(); // --json and --server may stand behind the subcommand too
        command->callback([this, action = std::move(action)] { m_arguments.chosen = action; });
        return command;
    }
    static void addRun(CLI::App* command, std::string& run) { command->add_option("RUN", run, "Name of the run")->required(); }

    void addLooks() {
        Arguments& a = m_arguments;
        add("runs", "List the runs", [&a](const Call& c) { return listRuns(c, a.list); })->add_flag("--names", a.list.namesOnly, "Names alone, one a line");
        addRun(add("show", "One run in detail: model, attempts, domains", [&a](const Call& c) { return showRun(c, a.run); }), a.run);
        addRun(add("lineage", "Which attempts make the run's curve, where they forked, and what each abandoned stretch had cost",
                   [&a](const Call& c) { return showLineage(c, a.run); }), a.run);
        addRun(add("checkpoints", "The run's checkpoints, newest first", [&a](const Call& c) { return listCheckpoints(c, a.run); }), a.run);
        CLI::App* events = add("events", "What happened, oldest first", [&a](const Call& c) { return listEvents(c, a.list); });
        events->add_option("RUN", a.list.run, "Of this run alone");
        events->add_option("--limit", a.list.limit, "The newest N");
        CLI::App* audit = add("audit", "Every command: who, why, what became of it; newest first",
                              [&a](const Call& c) { return a.list.deleted ? listDeleted(c) : listAudit(c, a.list); });
        audit->add_option("RUN", a.list.run, "Of this run alone");
        audit->add_option("--limit", a.list.limit, "The newest N");
        audit->add_flag("--deleted", a.list.deleted, "Instead the runs that were deleted: who, why, what went; oldest first")->excludes("RUN", "--limit");
        CLI::App* watch = add("watch", "A live line per step, progress and time left, until the run ends", [&a](const Call& c) { return watchRun(c, a.watch); });
        addRun(watch, a.watch.run);
        watch->add_option("--steps", a.watch.steps, "Leave after N lines");
        add("status", "The daemon, and how many points are where: emitted, stored, published; received and repaired by each client", [](const Call& c) { return showStatus(c); });
        CLI::App* series = add("series", "List a run's series, or print one", [&a](const Call& c) { return ctl::series(c, a.series); });
        addRun(series, a.series.run);
        series->add_option("NAME", a.series.names, "Series, exact or with * (in quotes): train/loss, 'bpb/*'");
        series->add_flag("--csv", a.series.csv, "Comma-separated, with a head line");
        series->add_option("--attempt", a.series.attempt, "Of this attempt; otherwise the newest lineage");
        series->add_option("--from", a.series.from, "First step");
        series->add_option("--to", a.series.to, "Last step");
        series->add_option("--buckets", a.series.buckets, "At most about N rows with first, last, min, max; otherwise every point");
        series->add_flag("--superseded", a.series.includeSuperseded, "Also what a restart discarded");
        addExport();
    }

    void addExport() {
        ExportArguments& e = m_arguments.exported;
        CLI::App* command = add("export", "A whole run as CSV, JSON lines (with its events) or TensorBoard's event files; counts what it wrote",
                                [&e](const Call& c) { return exportRun(c, e); });
        addRun(command, e.run);
        command->add_option("--format", e.format, "csv, jsonl or tfevents")->required()->check(CLI::IsMember({"csv", "jsonl", "tfevents"}));
        command->add_option("--out", e.out, "File to write, or a folder (with / at its end if there is none yet) for RUN.csv, RUN.jsonl or RUN/")->required();
        command->add_option("--series", e.series, "Only these, exact or with * (in quotes): train/loss 'bpb/*'; otherwise all");
        command->add_option_function<std::string>("--attempts", [&e](const std::string& which) { e.allAttempts = which == "all"; },
                                                  "effective: the newest lineage (default); all: also what restarts discarded, marked as superseded")
            ->check(CLI::IsMember({"effective", "all"}));
    }

    CLI::App* addOrder(const std::string& name, const std::string& about, ipc::CommandKind kind, bool needsReason) {
        OrderArguments& o = m_arguments.order;
        CLI::App* command = add(name, about, [&o, kind](const Call& c) { return order(c, kind, o); });
        addRun(command, o.run);
        auto* reason = command->add_option("--reason", o.reason, needsReason ? "Why, at least 12 characters; kept in the audit log" : "Why; kept in the audit log");
        if (needsReason)
            reason->required();
        command->add_flag("--no-wait", o.noWait, "Do not wait for the outcome");
        command->add_option("--timeout", o.timeoutS, "Longest wait for the outcome, seconds")->capture_default_str()->check(CLI::PositiveNumber);
        return command;
    }

    void addOrders() {
        using enum ipc::CommandKind;
        OrderArguments& o = m_arguments.order;
        addOrder("pause", "Hold every rank at a step boundary", Pause, false)->add_option("--at-step", o.atStep, "Before this step; otherwise the next");
        addOrder("resume", "Let a paused run go on", Resume, false);
        addOrder("stop", "End the run; saves a checkpoint first", Stop, true)->add_flag("--no-checkpoint", o.noCheckpoint, "Save none");
        addOrder("checkpoint", "Save a checkpoint now", Checkpoint, false);
        CLI::App* mixture = addOrder("mixture", "Set the data mixture, in percent", SetMixture, true);
        mixture->add_option("SHARES", o.shares, "DOMAIN=PERCENT …, adding up to 100")->required();
        mixture->add_option("--at-step", o.atStep, "First step with it; otherwise the next");
        addOrder("lr", "Multiply both learning rates", SetLrScale, false)->add_option("SCALE", o.lrScale, "Factor on the configured rates, e.g. 0.5")->required();
        CLI::App* restart = addOrder("restart", "New attempt from a checkpoint, with changes", Restart, true);
        restart->add_option("--step", o.checkpointStep, "Of the checkpoint; otherwise the newest");
        restart->add_option("--attempt", o.checkpointAttempt, "That wrote the checkpoint; otherwise any");
        restart->add_option("--lr-scale", o.restartLrScale, "Factor on the learning rates");
        restart->add_option("--clip", o.clipGrad, "Clip the gradient at this global norm");
        restart->add_option("--data-seed", o.dataSeed, "Another order of the data");
        restart->add_option("--skip", o.skipBatches, "Skip N batches of data");
        restart->add_option("--mixture", o.restartShares, "DOMAIN=PERCENT …, adding up to 100");
    }

    void addRest() {
        Arguments& a = m_arguments;
        CLI::App* start = add("start", "Start a run from a TOML config", [&a](const Call& c) { return startRun(c, a.start); });
        start->add_option("CONFIG", a.start.config, "The run's config, e.g. configs/demo_cpu.toml")->required();
        start->add_option("--name", a.start.name, "Another name than the config's");
        start->add_option("--ranks", a.start.ranks, "Data-parallel ranks, otherwise as the config says")->check(CLI::PositiveNumber);
        start->add_option("--reason", a.start.reason, "Why; kept in the audit log");
        CLI::App* plan = add("plan", "What a config costs on paper: memory per rank, messages, bubble, time; starts nothing", [&a](const Call& c) { return planRun(c, a.plan); });
        plan->add_option("CONFIG", a.plan.config, "The run's config, e.g. configs/tele_flm_52b.toml")->required();
        plan->add_option("--flops", a.plan.flops, "FLOP/s that a rank reaches while it computes, e.g. 160T; tells times and tokens/s");
        CLI::App* note = add("note", "Write a note on the run, at its present step", [&a](const Call& c) { return ctl::addNote(c, a.run, a.noteText); });
        addRun(note, a.run);
        note->add_option("TEXT", a.noteText, "One plain sentence")->required();
        addDelete();
        addImport();
        CLI::App* daemon = m_app.add_subcommand("daemon", "Start or stop the local telehelmd");
        daemon->fallthrough();
        daemon->require_subcommand(1);
        CLI::App* up = daemon->add_subcommand("start", "Start it in the background, if it does not run; log: telehelmd.log in the state folder");
        for (CLI::App* part : {daemon, up})
            part->footer(examplesOf("daemon"));
        up->fallthrough();
        up->add_flag("--any-port", a.daemon.anyPort, "On free ports instead of 7443 and 7444");
        up->callback([&a] { a.chosen = [&a](const Call& c) { return daemonStart(c, a.daemon); }; });
        CLI::App* down = daemon->add_subcommand("stop", "Stop it; training jobs go on");
        down->footer(examplesOf("daemon"));
        down->fallthrough();
        down->add_flag("--stop-jobs", a.daemon.stopJobs, "Stop the training jobs too (they save checkpoints)");
        down->callback([&a] { a.chosen = [&a](const Call& c) { return daemonStop(c, a.daemon); }; });
        add("completion", "Print a completion script: source <(telehelmctl completion bash)", [&a](const Call& c) { return completion(c, a.shell); })
            ->add_option("SHELL", a.shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
    }

    void addDelete() {
        DeleteArguments& d = m_arguments.deletion;
        CLI::App* command = add("delete",
                                "Delete an ended run for good: its points, events, commands, logs and checkpoints. Shows what will go and asks for the run's\n"
                                "name. It is gone everywhere at once and its name is free; the store's file does not shrink, new points fill what is freed",
                                [&d](const Call& c) { return ctl::deleteRun(c, d); });
        addRun(command, d.run);
        command->add_flag("--keep-checkpoints", d.keepCheckpoints, "Leave the checkpoints where they are; says where");
        command->add_option("--reason", d.reason, "Why; kept with who and when in the daemon's list of deleted runs");
        command->add_flag("--yes", d.yes, "Do not ask; needed where there is no terminal");
    }

    void addImport() {
        ImportArguments& i = m_arguments.imported;
        CLI::App* command = add("import",
                                "Take over a run that another machine trained without a daemon (telehelm-rank --offline): curves, events, config, all attempts.\n"
                                "Give its run folder, brought over to telehelmd's machine; it is only read. Exactly once: again, it adds what is new",
                                [&i](const Call& c) { return ctl::importRun(c, i); });
        command->add_option("FOLDER", i.folder, "That telehelm-rank had as --run-dir, or the one around it with attempt-1, attempt-2, …")->required();
        command->add_option("--as", i.name, "Under another name than its own");
        command->add_option("--reason", i.reason, "Why; kept with who, when and from where in the run's events");
    }

    CLI::App m_app;
    std::string m_stateDir;
    Arguments m_arguments;
};

/// CLI11 explains itself over several lines; an error here is one.
std::string oneLine(const CLI::App& app, const CLI::ParseError& error) {
    std::string text = error.what();
    if (const auto rest = app.remaining(); app.get_subcommands().empty() && !rest.empty())
        text = "there is no subcommand “" + rest.front() + "”";
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

} // namespace

int run(std::vector<std::string> arguments, const Terminal& terminal) {
    CommandLine line;
    std::reverse(arguments.begin(), arguments.end()); // CLI11 takes them from the back
    try {
        line.app().parse(std::move(arguments));
    } catch (const CLI::Success& success) { // --help, --version
        return line.app().exit(success, terminal.out, terminal.err);
    } catch (const CLI::ParseError& error) {
        terminal.err << "telehelmctl: " << oneLine(line.app(), error) << " (see telehelmctl --help)\n";
        return kUsage;
    }
    Arguments& parsed = line.arguments();
    return parsed.chosen(Call{terminal, parsed.common});
}

} // namespace telehelm::ctl
