// SPDX-License-Identifier: Apache-2.0
// Finding the daemon; subcommands start, note, daemon start|stop.
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <ostream>
#include <thread>

#include <pwd.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"
#include "supervise/process.h"
#include "telehelm/ipc/control_client.h"

namespace telehelm::ctl {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr int kTimeoutMs = 30'000;

Result<Connected> connectTo(const std::string& address) {
    Connected connected{ipc::makeControlClient(address, kTimeoutMs), {}};
    auto hello = connected.api->hello(ipc::kProtocolVersion, kProgram);
    if (!hello)
        return tl::unexpected(hello.error());
    connected.hello = std::move(*hello);
    return connected;
}

} // namespace

ExitCode exitCodeOf(ErrorCode code) {
    switch (code) {
    case ErrorCode::Unavailable: return kUnreachable;
    case ErrorCode::NotFound: return kNotFound;
    case ErrorCode::InvalidArgument:
    case ErrorCode::AlreadyExists:
    case ErrorCode::FailedPrecondition: return kRefused;
    default: return kFailed;
    }
}

int complain(const Call& call, const Error& error) {
    call.terminal.err << "telehelmctl: " << error.text() << "\n";
    return exitCodeOf(error.code);
}

Result<Connected> connect(const Common& common) {
    if (!common.server.empty())
        return connectTo(common.server);
    const auto card = readDaemonCard(common.stateDir);
    if (!card)
        return tl::unexpected(card.error());
    return connectTo(card->control).map_error([&](Error error) {
        if (error.code == ErrorCode::Unavailable)
            error = {ErrorCode::Unavailable,
                     "telehelmd (pid " + std::to_string(card->pid) + ", " + card->control +
                         ") does not answer; start one with “telehelmctl daemon start”",
                     common.stateDir.string()};
        return error;
    });
}

int withDaemon(const Call& call, const std::function<int(Connected&)>& use) {
    auto connected = connect(call.common);
    return connected ? use(*connected) : complain(call, connected.error());
}

std::string operatorName() {
    if (const char* user = std::getenv("USER"); user != nullptr && *user != '\0')
        return user;
    const passwd* entry = getpwuid(getuid());
    return entry != nullptr ? entry->pw_name : "uid " + std::to_string(getuid());
}

std::string hostName() {
    char text[256] = {};
    gethostname(text, sizeof text - 1);
    return text;
}

int startRun(const Call& call, const StartArguments& arguments) {
    std::ifstream file(arguments.config, std::ios::binary);
    if (!file || fs::is_directory(arguments.config)) {
        call.terminal.err << "telehelmctl: " << arguments.config << ": cannot be read; give the path of a run's TOML config, for example configs/demo_cpu.toml\n";
        return kUsage;
    }
    ipc::StartRequest request;
    request.configToml.assign(std::istreambuf_iterator<char>(file), {});
    request.configPath = fs::absolute(arguments.config).string();
    request.name = arguments.name;
    request.author = operatorName();
    request.host = hostName();
    request.reason = arguments.reason;
    request.ranks = arguments.ranks;
    request.commandId = ipc::newUuid();
    auto connected = connect(call.common);
    if (!connected && connected.error().code == ErrorCode::Unavailable && call.common.server.empty()) {
        if (const auto launched = launchDaemon(call.common.stateDir, false); !launched)
            return complain(call, launched.error());
        connected = connect(call.common);
    }
    if (!connected)
        return complain(call, connected.error());
    const auto run = connected->api->startRun(request);
    if (!run)
        return complain(call, run.error());
    if (call.common.json)
        call.terminal.out << toJson(*run).dump(2) << "\n";
    else
        call.terminal.out << run->run << " is " << (run->newest() != nullptr ? name(run->newest()->state) : "made") << ": "
                          << withSeparators(run->totalSteps) << " steps on " << run->device << "\n  watch it with “telehelmctl watch " << run->run
                          << "”\n";
    return kOk;
}

int addNote(const Call& call, const std::string& run, const std::string& text) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const auto info = daemon.api->getRun(run);
        if (!info)
            return complain(call, info.error());
        ipc::Event note;
        note.key = {run, 0};
        if (const ipc::AttemptInfo* newest = info->newest()) {
            note.key = newest->key;
            note.step = newest->step;
            note.tokens = newest->tokens;
        }
        note.kind = ipc::EventKind::Note;
        note.wallUs = ipc::nowUs();
        note.text = text;
        note.facts["author"] = operatorName();
        note.facts["host"] = hostName();
        const auto stored = daemon.api->addNote(note);
        if (!stored)
            return complain(call, stored.error());
        if (call.common.json)
            call.terminal.out << toJson(*stored).dump(2) << "\n";
        else
            call.terminal.out << run << ": noted at step " << withSeparators(stored->step) << "\n";
        return kOk;
    });
}

int daemonStart(const Call& call, const DaemonArguments& arguments) {
    if (!call.common.server.empty()) {
        call.terminal.err << "telehelmctl: daemon start works on this computer only; leave --server out\n";
        return kUsage;
    }
    const auto running = connect(call.common);
    std::string verb = "runs already";
    if (!running) {
        if (running.error().code != ErrorCode::Unavailable)
            return complain(call, running.error());
        if (const auto launched = launchDaemon(call.common.stateDir, arguments.anyPort); !launched)
            return complain(call, launched.error());
        verb = "started";
    }
    const auto card = readDaemonCard(call.common.stateDir);
    if (!card)
        return complain(call, card.error());
    if (call.common.json)
        call.terminal.out << Json{{"pid", card->pid}, {"control", card->control}, {"started", verb == "started"}}.dump(2) << "\n";
    else
        call.terminal.out << "telehelmd " << verb << ": pid " << card->pid << ", " << card->control << "\n";
    return kOk;
}

/// Its process must be gone, not only its service: until then it holds the state folder.
int daemonStop(const Call& call, const DaemonArguments& arguments) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const std::string epoch = daemon.hello.epoch;
        const auto process = daemon.hello.pid > 0 ? supervise::identify(daemon.hello.pid) : std::nullopt;
        if (const auto stopped = daemon.api->shutdown(arguments.stopJobs); !stopped)
            return complain(call, stopped.error());
        const auto until = std::chrono::steady_clock::now() + 90s; // jobs save a checkpoint first
        for (;;) {
            const auto still = daemon.api->hello(ipc::kProtocolVersion, kProgram);
            if ((!still || still->epoch != epoch) && !(process && supervise::isAlive(*process)))
                break;
            if (std::chrono::steady_clock::now() > until)
                return complain(call, {ErrorCode::Internal, "telehelmd has not ended after 90 s; its log may say why", daemon.hello.stateDir});
            std::this_thread::sleep_for(50ms);
        }
        if (call.common.json)
            call.terminal.out << Json{{"stopped", true}, {"jobs_stopped", arguments.stopJobs}}.dump(2) << "\n";
        else
            call.terminal.out << "telehelmd stopped; " << (arguments.stopJobs ? "its jobs too" : "training jobs go on") << "\n";
        return kOk;
    });
}

} // namespace telehelm::ctl
