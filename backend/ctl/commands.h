// SPDX-License-Identifier: Apache-2.0
// What the command line was read into, and one function per subcommand. Each returns the exit status.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ctl/cli.h"
#include "ctl/daemon_finder.h"
#include "telehelm/ipc/control_api.h"

namespace telehelm::ctl {

/// Given before or after the subcommand.
struct Common {
    std::filesystem::path stateDir;
    std::string server; // HOST:PORT, empty: the local daemon of stateDir
    bool json = false;
};

struct OrderArguments {
    std::string run;
    std::string reason;
    std::int64_t atStep = -1;
    bool noWait = false;
    int timeoutS = 600;
    bool noCheckpoint = false;               // stop
    double lrScale = 1;                      // lr
    std::vector<std::string> shares;         // mixture: "WebText=40"
    std::uint32_t checkpointAttempt = 0;     // restart, and so on
    std::int64_t checkpointStep = -1;
    std::optional<double> restartLrScale, clipGrad;
    std::optional<std::uint64_t> dataSeed;
    std::int64_t skipBatches = 0;
    std::vector<std::string> restartShares;
};

struct StartArguments {
    std::string config, name, reason;
    int ranks = 0;
};

struct PlanArguments {
    std::string config;
    std::string flops; // "160T", empty: no times
};

struct SeriesArguments {
    std::string run;
    std::vector<std::string> names;
    std::uint32_t attempt = 0;
    bool csv = false, includeSuperseded = false;
    std::int64_t from = 0, to = INT64_MAX;
    std::uint32_t buckets = 0;
};

struct ExportArguments {
    std::string run, format, out;
    std::vector<std::string> series; // names or globs, empty: all
    bool allAttempts = false;        // also what restarts discarded
};

struct ListArguments {
    std::string run;
    std::uint32_t limit = 0;
    bool namesOnly = false;
    bool deleted = false;
};

struct WatchArguments {
    std::string run;
    std::int64_t steps = 0; // leave after that many lines, 0: when the run ends
};

struct DeleteArguments {
    std::string run, reason;
    bool keepCheckpoints = false, yes = false;
};

struct ImportArguments {
    std::string folder, name, reason;
};

struct DaemonArguments {
    bool anyPort = false, stopJobs = false;
};

/// What every subcommand gets.
struct Call {
    const Terminal& terminal;
    const Common& common;
};

int listRuns(const Call& call, const ListArguments& arguments);
int showRun(const Call& call, const std::string& run);
int showLineage(const Call& call, const std::string& run);
int listCheckpoints(const Call& call, const std::string& run);
int listEvents(const Call& call, const ListArguments& arguments);
int listAudit(const Call& call, const ListArguments& arguments);
int showStatus(const Call& call);
int addNote(const Call& call, const std::string& run, const std::string& text);
int series(const Call& call, const SeriesArguments& arguments);
int exportRun(const Call& call, const ExportArguments& arguments);
int planRun(const Call& call, const PlanArguments& arguments);
int startRun(const Call& call, const StartArguments& arguments);
int order(const Call& call, ipc::CommandKind kind, const OrderArguments& arguments);
int deleteRun(const Call& call, const DeleteArguments& arguments);
int listDeleted(const Call& call);
int importRun(const Call& call, const ImportArguments& arguments);
int watchRun(const Call& call, const WatchArguments& arguments);
int daemonStart(const Call& call, const DaemonArguments& arguments);
int daemonStop(const Call& call, const DaemonArguments& arguments);
int completion(const Call& call, const std::string& shell);

/// One clear line on stderr; returns the exit status that fits the error.
int complain(const Call& call, const Error& error);
/// The daemon that the command line means, after a hello.
struct Connected {
    std::unique_ptr<ipc::ControlApi> api;
    ipc::HelloInfo hello;
};
[[nodiscard]] Result<Connected> connect(const Common& common);
/// Connects, or says why not.
int withDaemon(const Call& call, const std::function<int(Connected&)>& use);
inline constexpr const char* kProgram = "telehelmctl 0.1.0";
/// Who orders: $USER (or the account's name) and this computer.
[[nodiscard]] std::string operatorName();
[[nodiscard]] std::string hostName();

} // namespace telehelm::ctl
