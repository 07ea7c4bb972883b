// SPDX-License-Identifier: Apache-2.0
// Subcommand import: a run that another machine trained without a daemon comes into this one's store.
#include <chrono>
#include <ostream>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"
#include "telehelm/ipc/sequence_text.h"

namespace telehelm::ctl {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

std::string counted(std::uint64_t count, const std::string& thing) {
    return withSeparators(static_cast<std::int64_t>(count)) + " " + thing + (count == 1 ? "" : "s");
}

/// A line every two seconds, and none for what is done before.
class ProgressLines {
public:
    explicit ProgressLines(std::ostream& out) : m_out(out) {}
    void tell(const ipc::ImportProgress& progress) {
        if (Clock::now() < m_next || progress.totalBytes == 0)
            return;
        m_next = Clock::now() + 2s;
        m_out << "telehelmctl: " << percentText(static_cast<double>(100 * progress.doneBytes / progress.totalBytes) / 100) << " done, "
              << counted(progress.pointsAdded, "point") << " stored; Ctrl+C is safe, the same import again goes on" << std::endl;
    }

private:
    std::ostream& m_out;
    Clock::time_point m_next = Clock::now() + 2s;
};

bool isWhole(const ipc::ImportReport& report) {
    bool isWhole = report.warnings.empty();
    for (const ipc::ImportedAttempt& attempt : report.attempts)
        isWhole = isWhole && attempt.missing.empty() && attempt.damage.empty();
    return isWhole;
}

Json toJson(const ipc::ImportReport& report) {
    Json attempts = Json::array();
    for (const ipc::ImportedAttempt& a : report.attempts) {
        Json missing = Json::array();
        for (const ipc::SequenceRange& range : a.missing)
            missing.push_back({range.first, range.last});
        attempts.push_back({{"attempt", a.key.attempt},       {"state", name(a.state)},       {"step", a.step},      {"batches", a.batches}, {"points", a.points},
                            {"points_added", a.pointsAdded}, {"points_stored", a.pointsStored}, {"missing", missing}, {"damage", a.damage}});
    }
    return {{"run", report.run}, {"added", report.hasAdded}, {"whole", isWhole(report)}, {"attempts", attempts}, {"warnings", report.warnings}};
}

void print(std::ostream& out, const ipc::ImportReport& report) {
    std::uint64_t added = 0, stored = 0;
    for (const ipc::ImportedAttempt& attempt : report.attempts) {
        added += attempt.pointsAdded;
        stored += attempt.pointsStored;
    }
    if (!report.hasAdded) {
        out << report.run << " is already here: " << counted(stored, "point") << ", nothing new\n";
        return;
    }
    out << report.run << " is imported: " << counted(added, "new point") << ", " << counted(stored, "point") << " in all\n";
    for (const ipc::ImportedAttempt& attempt : report.attempts)
        out << "  attempt " << attempt.key.attempt << ": " << name(attempt.state) << " at step " << withSeparators(attempt.step) << ", "
            << counted(attempt.points, "point") << " in the spool, " << counted(attempt.pointsStored, "point") << " stored\n";
    out << "  look at it with “telehelmctl show " << report.run << "” or in the window\n";
}

/// What did not come, a line each.
void printLack(std::ostream& err, const ipc::ImportReport& report) {
    for (const ipc::ImportedAttempt& attempt : report.attempts) {
        const std::string which = "telehelmctl: attempt " + std::to_string(attempt.key.attempt);
        if (!attempt.missing.empty())
            err << which << ": missing are the batches " << listed(attempt.missing) << "\n";
        for (const std::string& sentence : attempt.damage)
            err << which << ": its spool: " << sentence << "\n";
    }
    for (const std::string& sentence : report.warnings)
        err << "telehelmctl: " << sentence << "\n";
}

} // namespace

int importRun(const Call& call, const ImportArguments& arguments) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const std::string folder = std::filesystem::absolute(arguments.folder).lexically_normal().string();
        ProgressLines lines(call.terminal.err);
        const auto report = daemon.api->importRun({folder, arguments.name, operatorName(), hostName(), arguments.reason}, [&](const ipc::ImportProgress& progress) {
            lines.tell(progress);
            return true;
        });
        if (!report && report.error().code == ErrorCode::VersionMismatch)
            return complain(call, {ErrorCode::VersionMismatch, "this daemon (" + daemon.hello.program + ") is older than telehelmctl and cannot import runs; stop it (telehelmctl "
                                                               "daemon stop; training goes on) and start the telehelmd of this release", report.error().context});
        if (!report)
            return complain(call, report.error());
        if (call.common.json)
            call.terminal.out << toJson(*report).dump(2) << "\n";
        else
            print(call.terminal.out, *report);
        printLack(call.terminal.err, *report);
        return isWhole(*report) ? kOk : kFailed;
    });
}

} // namespace telehelm::ctl
