// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <iostream>

#include <CLI/CLI.hpp>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "daemon/check_command.h"
#include "daemon/daemon.h"
#include "daemon/metrics_server.h"
#include "daemon/state_dir.h"
#include "daemon/version.h"
#include "telehelm/ipc/control_server.h"

namespace {

using namespace telehelm;

volatile std::sig_atomic_t stopSignal = 0;

struct Arguments {
    std::string stateDir = daemon::defaultStateDir().string();
    std::string control = "127.0.0.1:7443", live = "tcp://127.0.0.1:7444", link = "tcp://127.0.0.1:*";
    bool isControlGiven = false, isLiveGiven = false;
    int metricsPort = -1; // none
    bool readOnly = false;
};

int complain(const Error& error) {
    std::cerr << "telehelmd: " << error.text() << "\n";
    return 1;
}

// A taken default port is no reason to fail: clients read daemon.json. One that was asked for is.
template <typename Try>
auto withFallback(bool isGiven, const std::string& wanted, const std::string& anyPort, const Try& tryWith) {
    auto made = tryWith(wanted);
    if (made || isGiven)
        return made;
    auto other = tryWith(anyPort);
    if (other)
        spdlog::warn("{}; another free port is used", made.error().text());
    return other;
}

int serve(const Arguments& arguments) {
    std::optional<daemon::StateDir> held;
    if (!arguments.readOnly) {
        auto stateDir = daemon::StateDir::lock(arguments.stateDir);
        if (!stateDir)
            return complain(stateDir.error());
        held.emplace(std::move(*stateDir));
    }
    daemon::DaemonOptions options;
    options.stateDir = std::filesystem::absolute(arguments.stateDir);
    options.readOnly = arguments.readOnly;
    options.linkEndpoint = arguments.link;
    auto daemon = withFallback(arguments.isLiveGiven, arguments.live, "tcp://127.0.0.1:*", [&](const std::string& live) {
        options.liveEndpoint = live;
        return daemon::Daemon::open(options);
    });
    if (!daemon)
        return complain(daemon.error());
    auto control = withFallback(arguments.isControlGiven, arguments.control, "127.0.0.1:0",
                                [&](const std::string& address) { return ipc::serveControl(**daemon, address); });
    if (!control)
        return complain(control.error());
    std::unique_ptr<daemon::MetricsServer> metrics;
    if (arguments.metricsPort >= 0) {
        auto served = daemon::serveMetrics(arguments.metricsPort, [&] { return (*daemon)->status(); });
        if (!served)
            return complain(served.error());
        metrics = std::move(*served);
        spdlog::info("metrics: http://127.0.0.1:{}/metrics", metrics->port());
    }
    const std::string host = arguments.control.substr(0, arguments.control.rfind(':'));
    const std::string address = host + ":" + std::to_string((*control)->port());
    if (arguments.readOnly) {
        spdlog::info("telehelmd {} shows {} and changes nothing: telehelm --server {}, telehelmctl --server {} …", daemon::kVersion,
                     options.stateDir.string(), address, address);
    } else if (auto written = daemon::writeDaemonCard(options.stateDir, {address, (*daemon)->liveEndpoint(), (*daemon)->linkEndpoint(), (*daemon)->epoch()});
        !written) {
        return complain(written.error());
    } else {
        spdlog::info("telehelmd {} serves {}: control {}, live {}, trainers {}", daemon::kVersion, options.stateDir.string(), address,
                     (*daemon)->liveEndpoint(), (*daemon)->linkEndpoint());
    }
    std::optional<bool> shutdown;
    while (stopSignal == 0 && !shutdown)
        shutdown = (*daemon)->waitForShutdown(100);
    spdlog::info(shutdown.value_or(false) ? "stops, with its jobs" : "stops; training jobs go on");
    if (shutdown.value_or(false) && !arguments.readOnly)
        (*daemon)->stopAllJobs(60'000);
    metrics.reset();
    control->reset();
    if (!arguments.readOnly)
        daemon::removeDaemonCard(options.stateDir);
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app("telehelmd keeps training runs: it launches and watches their jobs, stores every point they emit, and serves\n"
                 "telehelm and telehelmctl. It runs in the foreground and logs to stderr; SIGTERM or SIGINT stop it, and training\n"
                 "jobs go on: the next telehelmd of the same state folder takes them up again.\n",
                 "telehelmd");
    app.footer("Examples:\n  telehelmd                                   serve ~/.local/state/telehelm\n"
               "  telehelmd --state-dir /data/telehelm        keep everything elsewhere\n"
               "  telehelmd --metrics-port 7446                counters for Prometheus at http://127.0.0.1:7446/metrics\n"
               "  telehelmd --control 127.0.0.1:0 --live 'tcp://127.0.0.1:*'   any free ports (see daemon.json)\n"
               "  telehelmd --read-only --state-dir /mnt/archive --control 127.0.0.1:7450   look at what another machine kept\n"
               "  telehelmd check                             is everything that was stored still there? (beside a daemon, too)\n"
               "  telehelmd check --repair                    make again what can be made again (the daemon must be stopped)\n"
               "Exit status: 0 stopped, 1 cannot serve (says why), 2 wrong use.");
    Arguments arguments;
    app.add_option("--state-dir", arguments.stateDir, "Folder for the store, runs and checkpoints")->capture_default_str();
    const auto* control = app.add_option("--control", arguments.control, "gRPC address HOST:PORT, loopback only; port 0: any")->capture_default_str();
    const auto* live = app.add_option("--live", arguments.live, "ZeroMQ endpoint of the live stream; port *: any")->capture_default_str();
    app.add_option("--link", arguments.link, "ZeroMQ endpoint for trainers; port *: any")->capture_default_str();
    app.add_option("--metrics-port", arguments.metricsPort,
                   "Serve the counters as OpenMetrics text at http://127.0.0.1:PORT/metrics; port 0: any (the log says which). Off unless given")
        ->check(CLI::Range(0, 65535));
    app.add_flag("--read-only", arguments.readOnly,
                 "Only show what the folder holds: no jobs, no trainers, no commands, not a byte changed. For folders that cannot be\n"
                 "written, copies and archives; clients find it by --server");
    bool isForeground = true;
    app.add_flag("--foreground", isForeground, "Stay in the foreground (always so; for scripts that say it)");
    daemon::CheckArguments check;
    auto* checkCommand = app.add_subcommand(
        "check", "Look the store over: checksums of every chunk, every summary against its points, the log, the count of points that were\n"
                 "acknowledged. Names each damage with run, attempt, series, level, chunk and points lost. Only reads, and may run\n"
                 "while a daemon serves.");
    std::string checkDir;
    checkCommand->add_option("--state-dir", checkDir, "Folder of the store (as telehelmd's)");
    checkCommand->add_flag("--repair", check.repair,
                           "Make damaged summaries again from the points, note points that are lost so that they are known, keep what was\n"
                           "damaged in the table `damaged`. Deletes no point. The daemon must be stopped");
    checkCommand->add_flag("--json", check.json, "One JSON object a damage, then one with the sums");
    checkCommand->footer("Exit status: 0 whole, or all damage is mended or noted; 1 damaged (each line says where); 2 wrong use; 3 cannot be checked.");
    app.set_version_flag("--version", std::string("telehelmd ") + daemon::kVersion);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& success) { // --help, --version
        return app.exit(success);
    } catch (const CLI::ParseError& error) {
        std::cerr << "telehelmd: " << error.what() << " (see telehelmd --help)\n";
        return 2;
    }
    arguments.isControlGiven = control->count() > 0;
    arguments.isLiveGiven = live->count() > 0;

    if (checkCommand->parsed()) {
        check.stateDir = checkDir.empty() ? arguments.stateDir : checkDir;
        return daemon::runCheck(check, std::cout, std::cerr);
    }

    spdlog::set_default_logger(spdlog::stderr_color_mt("telehelmd"));
    spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
    struct sigaction action {};
    action.sa_handler = [](int number) { stopSignal = number; };
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGHUP, SIG_IGN);
    return serve(arguments);
}
