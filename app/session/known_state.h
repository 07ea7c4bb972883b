// SPDX-License-Identifier: GPL-3.0-or-later
// What a session knows of runs, events and commands, merged from answers, the watch stream and the news. GUI thread only; no Qt.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

struct KnownState {
    std::vector<ipc::RunInfo> runs;         // newest first
    std::vector<ipc::Event> events;         // oldest first
    std::vector<ipc::Command> commands;     // newest first

    enum class Change { None, Changed, Added };
    Change merge(ipc::RunInfo run);
    Change merge(const ipc::Event& event);     // by id; one without an id is not kept (its stored twin follows)
    Change merge(const ipc::Command& command); // by UUID; an older state never replaces a newer one
    /// Progress and state that travel with the news. False: unknown run or attempt, so ask again.
    Change merge(const ipc::News& news);
    /// A deleted run with all that is known of it; false when it was not known. An answer that was on its way does not bring it back.
    bool forget(const ipc::DeletedRun& deleted);
    void clear();

    [[nodiscard]] const ipc::RunInfo* run(const std::string& name) const;

private:
    ipc::RunInfo* find(const std::string& name);
    std::set<std::int64_t> m_eventIds;
    std::map<std::string, std::int64_t> m_deletedUs; // by run
};

/// The highest step and tokens of a batch's points; −1 when it has none.
struct Progress {
    std::int64_t step = -1, tokens = -1;
};
[[nodiscard]] Progress progressOf(const ipc::TelemetryBatch& batch);

} // namespace telehelm::app
