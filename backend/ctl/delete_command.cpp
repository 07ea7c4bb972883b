// SPDX-License-Identifier: Apache-2.0
// Subcommand delete: a whole ended run goes, once the operator has said so; and what audit tells of such runs.
#include <istream>
#include <ostream>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"

namespace telehelm::ctl {
namespace {

std::string counted(std::uint64_t count, const std::string& thing) {
    return withSeparators(static_cast<std::int64_t>(count)) + " " + thing + (count == 1 ? "" : "s");
}

std::string whatGoes(const ipc::DeletedRun& run) {
    return counted(run.attempts, "attempt") + ", " + counted(run.points, "stored point") + ", " +
           (run.keptIn.empty() ? counted(run.checkpoints, "checkpoint") + (run.checkpoints > 0 ? " (" + byteText(run.checkpointBytes) + ")" : "")
                               : "no checkpoint (those in " + run.keptIn + " are kept)");
}

Json toJson(const ipc::DeletedRun& run) {
    return {{"id", run.id},
            {"run", run.run},
            {"deleted_us", run.deletedUs},
            {"author", run.author},
            {"host", run.host},
            {"reason", run.reason},
            {"attempts", run.attempts},
            {"points", run.points},
            {"checkpoints", run.checkpoints},
            {"checkpoint_bytes", run.checkpointBytes},
            {"kept_in", run.keptIn}};
}

/// True when the operator has typed the run's name.
bool isConfirmed(const Call& call, const ipc::DeletedRun& run) {
    call.terminal.err << "Run " << run.run << " will be gone for good: " << whatGoes(run) << ", its logs, events and commands.\n"
                      << "Type the run's name to delete it: " << std::flush;
    std::string typed;
    std::getline(*call.terminal.in, typed);
    return typed == run.run;
}

int cannot(const Call& call, const Connected& daemon, Error error) {
    if (error.code == ErrorCode::VersionMismatch)
        error.message = "this daemon (" + daemon.hello.program + ") is older than telehelmctl and cannot delete runs; stop it (telehelmctl daemon stop; "
                        "training goes on) and start the telehelmd of this release";
    return complain(call, error);
}

} // namespace

int deleteRun(const Call& call, const DeleteArguments& arguments) {
    if (!arguments.yes && call.terminal.in == nullptr) {
        call.terminal.err << "telehelmctl: delete asks for the run's name, and there is no terminal to ask on; --yes deletes without asking\n";
        return kUsage;
    }
    return withDaemon(call, [&](Connected& daemon) -> int {
        ipc::DeleteRequest request{arguments.run, arguments.keepCheckpoints, !arguments.yes, operatorName(), hostName(), arguments.reason};
        auto run = daemon.api->deleteRun(request);
        if (run && request.onlyLook) {
            if (!isConfirmed(call, *run)) {
                call.terminal.err << "telehelmctl: that is not the run's name; nothing was deleted\n";
                return kFailed;
            }
            request.onlyLook = false;
            run = daemon.api->deleteRun(request);
        }
        if (!run)
            return cannot(call, daemon, run.error());
        if (call.common.json)
            call.terminal.out << toJson(*run).dump(2) << "\n";
        else
            call.terminal.out << run->run << " is deleted: " << whatGoes(*run)
                              << "\n  files go now; what its points took in the store is freed by and by and filled with new points, its file does not shrink\n";
        return kOk;
    });
}

int listDeleted(const Call& call) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const auto runs = daemon.api->listDeletedRuns();
        if (!runs)
            return cannot(call, daemon, runs.error());
        if (call.common.json) {
            Json all = Json::array();
            for (const ipc::DeletedRun& run : *runs)
                all.push_back(toJson(run));
            call.terminal.out << all.dump(2) << "\n";
            return kOk;
        }
        Table table({"TIME", "RUN", "WHO", "REASON", "WHAT WENT"});
        for (const ipc::DeletedRun& run : *runs)
            table.add({timeText(run.deletedUs), run.run, run.author + "@" + run.host, run.reason.empty() ? "-" : run.reason, whatGoes(run)});
        if (table.empty())
            call.terminal.out << "no run was deleted\n";
        else
            table.print(call.terminal.out, call.terminal.hasColour);
        return kOk;
    });
}

} // namespace telehelm::ctl
