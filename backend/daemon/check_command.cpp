// SPDX-License-Identifier: Apache-2.0
#include "daemon/check_command.h"

#include <chrono>
#include <optional>
#include <ostream>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "daemon/state_dir.h"
#include "store/check.h"

namespace telehelm::daemon {
namespace {

constexpr int kWhole = 0, kDamaged = 1, kCannot = 3;

// A line every second; on a terminal it stays in its place.
class Progress {
public:
    explicit Progress(std::ostream& err) : m_err(err), m_isTerminal(isatty(STDERR_FILENO) == 1) {}
    ~Progress() { clear(); }
    void show(std::uint64_t chunks, std::uint64_t of) {
        const auto now = std::chrono::steady_clock::now();
        if (now - m_shown < std::chrono::seconds(1))
            return;
        m_shown = now;
        m_err << (m_isTerminal ? "\r" : "") << "telehelmd check: " << chunks << " of " << of << " chunks of points (" << (of ? 100 * chunks / of : 100)
              << " %)" << (m_isTerminal ? "\033[K" : "\n") << std::flush;
        m_isOpen = m_isTerminal;
    }
    void clear() {
        if (m_isOpen)
            m_err << "\r\033[K" << std::flush;
        m_isOpen = false;
    }

private:
    std::ostream& m_err;
    const bool m_isTerminal;
    bool m_isOpen = false;
    std::chrono::steady_clock::time_point m_shown = std::chrono::steady_clock::now();
};

nlohmann::json toJson(const store::Damage& d) {
    nlohmann::json line = {{"run", d.run},       {"attempt", d.attempt}, {"series", d.series},        {"what", d.what},
                           {"text", d.text()},   {"mended", d.isMended}, {"points_lost", d.pointsLost}};
    if (d.level >= 0) {
        line["level"] = d.level;
        line["chunk"] = d.chunk;
    }
    if (d.firstStep <= d.lastStep) {
        line["first_step"] = d.firstStep;
        line["last_step"] = d.lastStep;
    }
    return line;
}

std::string plural(std::uint64_t count, const std::string& thing) { return std::to_string(count) + " " + thing + (count == 1 ? "" : "s"); }

std::string summary(const store::CheckReport& report, bool repair) {
    std::string text = plural(report.runs, "run") + ", " + plural(report.attempts, "attempt") + ", " + std::to_string(report.series) + " series, " +
                       plural(report.points, "point") + " read: ";
    if (report.damages == 0)
        text += "everything is as it should be";
    else {
        text += plural(report.damages, "damage") + ", " + std::to_string(report.mended) + " mended, " + plural(report.pointsLost, "point") + " lost";
        if (!repair)
            text += ". With the daemon stopped, `telehelmd check --repair` makes summaries again and notes what is lost; everything else stays readable";
    }
    if (report.knownLosses > 0)
        text += ". Noted before or now: " + std::to_string(report.knownLosses) + (report.knownLosses == 1 ? " loss" : " losses") + " with " + plural(report.knownPointsLost, "point");
    return text;
}

} // namespace

int runCheck(const CheckArguments& arguments, std::ostream& out, std::ostream& err) {
    const auto complain = [&](const Error& error) {
        err << "telehelmd check: " << error.text() << "\n";
        return kCannot;
    };
    std::optional<StateDir> lock;
    if (arguments.repair) {
        auto locked = StateDir::lock(arguments.stateDir);
        if (!locked)
            return complain(locked.error());
        lock.emplace(std::move(*locked));
    }
    Progress progress(err);
    store::CheckOptions options;
    options.repair = arguments.repair;
    options.found = [&](const store::Damage& damage) {
        progress.clear();
        out << (arguments.json ? toJson(damage).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) : damage.text()) << "\n";
    };
    options.progress = [&](std::uint64_t chunks, std::uint64_t of) { progress.show(chunks, of); };
    const auto report = store::checkStore(arguments.stateDir / "telehelm.db", options);
    progress.clear();
    if (!report)
        return complain(report.error());
    if (arguments.json)
        out << nlohmann::json{{"runs", report->runs},       {"attempts", report->attempts}, {"series", report->series},
                              {"chunks", report->chunks},   {"points", report->points},     {"damages", report->damages},
                              {"mended", report->mended},   {"points_lost", report->pointsLost},
                              {"known_losses", report->knownLosses}, {"known_points_lost", report->knownPointsLost}}
                   .dump()
            << "\n";
    else
        out << summary(*report, arguments.repair) << ".\n";
    return report->damages == report->mended ? kWhole : kDamaged;
}

} // namespace telehelm::daemon
