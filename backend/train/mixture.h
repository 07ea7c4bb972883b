// SPDX-License-Identifier: Apache-2.0
// Mixtures by name (config, commands, checkpoints) and by the corpus' order (sampler).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/corpus.h"
#include "telehelm/ipc/types.h"
#include "train/manifest.h"

namespace telehelm::train {

/// Shares in the corpus' order that add up to exactly 1 but for rounding. Refused: an unknown domain (named, with the known
/// ones), a negative share, a sum off 1 by more than `tolerance`, a domain with a share but without text.
[[nodiscard]] Result<std::vector<double>> sharesInOrder(const data::Corpus& corpus, const std::map<std::string, double>& shares,
                                                        double tolerance);
[[nodiscard]] Result<std::vector<double>> configShares(const data::Corpus& corpus, const config::DataConfig& data);
[[nodiscard]] std::map<std::string, double> named(const data::Corpus& corpus, const std::vector<double>& shares);

inline constexpr const char* kHeadsSetting = "[model] attention_heads";
[[nodiscard]] std::map<std::string, double> settingsOf(const config::RunConfig& config);
[[nodiscard]] ConfigMarks marksOf(const config::RunConfig& config);
[[nodiscard]] std::vector<NamedMixtureChange> namedHistory(const data::Corpus& corpus,
                                                           const std::vector<data::MixtureChange>& history);

/// How a run goes on from a checkpoint.
struct Fork {
    std::vector<data::MixtureChange> history;
    double lrScale = 1;
    bool changed = false; // the last entry of the history was added by this start's config, at the fork step + 1
};
/// From step 0 (`manifest` null) or from a checkpoint: what the config changes takes effect at the step after it.
[[nodiscard]] Result<Fork> forkFrom(const config::RunConfig& config, const data::Corpus& corpus, const Manifest* manifest,
                                    const ipc::AttemptKey& own);

/// "WebText 60 %, Code 40 %"
[[nodiscard]] std::string mixtureText(const std::map<std::string, double>& shares);

} // namespace telehelm::train
