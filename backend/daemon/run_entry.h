// SPDX-License-Identifier: Apache-2.0
// What the daemon knows of one run: its attempts, the newest one's config, its corpus and mixture.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "daemon/corpus_facts.h"
#include "daemon/retry.h"
#include "store/records.h"
#include "telehelm/ipc/types.h"

namespace telehelm::daemon {

/// A value; the Daemon guards those it owns.
struct RunEntry {
    store::RunRecord record;
    std::string folder;                          // below runs/: the name, unless a deleted run has left something there
    std::vector<ipc::AttemptInfo> attempts;      // oldest first
    std::optional<ipc::RunOrigin> origin;        // imported: no trainer of it is here
    std::optional<config::RunConfig> config;     // the newest attempt's; empty when it can no longer be read
    std::vector<CorpusDomain> corpus;
    ipc::Mixture target;                         // in force, shares
    std::map<std::string, double> tokensSeen;    // per domain, along the effective curve
    std::map<std::string, std::int64_t> seenUpTo; // per domain: tokens at its last point
    bool isRestarting = false;
    Retry retry;
    std::map<std::uint32_t, ipc::Event> ends;    // what a trainer said last: its AttemptEnded
    std::int64_t pushedUs = 0;                   // when watchers were last told of its progress

    [[nodiscard]] ipc::AttemptInfo* find(std::uint32_t attempt); // 0: the newest; null when unknown
    [[nodiscard]] ipc::AttemptInfo& newest() { return attempts.back(); }
    /// Takes up the newest attempt's config: mesh, domains, the mixture to begin with.
    void readConfig();
    /// A point of "mixture/<domain>/actual" or "…/target".
    void takeMixturePoint(const std::string& series, std::int64_t tokens, double value);
    [[nodiscard]] ipc::RunInfo info() const;
};

/// Where the config's corpus lies.
[[nodiscard]] std::filesystem::path corpusDirOf(const config::RunConfig& config);

} // namespace telehelm::daemon
