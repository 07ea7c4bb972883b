// SPDX-License-Identifier: Apache-2.0
#include "daemon/run_entry.h"

#include <algorithm>

namespace telehelm::daemon {

std::filesystem::path corpusDirOf(const config::RunConfig& config) {
    return config.data.corpus.empty() ? config::demoCorpusDir() : std::filesystem::path(config.data.corpus);
}

ipc::AttemptInfo* RunEntry::find(std::uint32_t attempt) {
    if (attempt == 0)
        return attempts.empty() ? nullptr : &attempts.back();
    const auto found = std::find_if(attempts.begin(), attempts.end(), [&](const ipc::AttemptInfo& a) { return a.key.attempt == attempt; });
    return found == attempts.end() ? nullptr : &*found;
}

void RunEntry::readConfig() {
    config.reset();
    corpus.clear();
    target.clear();
    if (attempts.empty())
        return;
    auto parsed = config::parseRunConfig(attempts.back().configToml, record.run);
    if (!parsed)
        return;
    config = std::move(*parsed);
    for (const auto& [domain, percent] : config->data.mixture)
        target[domain] = percent / 100.0;
    if (auto facts = readCorpusFacts(corpusDirOf(*config)))
        corpus = std::move(*facts);
    if (origin) // it read its own machine's corpus, whose size is not known here
        for (CorpusDomain& domain : corpus)
            domain.trainTokens = 0;
}

void RunEntry::takeMixturePoint(const std::string& series, std::int64_t tokens, double value) {
    constexpr std::string_view kPrefix = "mixture/", kTarget = "/target", kActual = "/actual";
    if (!series.starts_with(kPrefix))
        return;
    if (series.ends_with(kTarget))
        target[series.substr(kPrefix.size(), series.size() - kPrefix.size() - kTarget.size())] = value;
    if (!series.ends_with(kActual))
        return;
    // The share since the point before, times the tokens since then.
    const std::string domain = series.substr(kPrefix.size(), series.size() - kPrefix.size() - kActual.size());
    std::int64_t& before = seenUpTo[domain];
    if (tokens > before)
        tokensSeen[domain] += value * static_cast<double>(tokens - before);
    before = std::max(before, tokens);
}

ipc::RunInfo RunEntry::info() const {
    ipc::RunInfo out;
    out.run = record.run;
    out.description = record.description;
    out.createdUs = record.createdUs;
    out.attempts = attempts;
    out.origin = origin;
    if (!config)
        return out;
    const config::RunConfig& c = *config;
    out.parameters = c.model.parameterCount();
    out.tensorParallel = c.parallel.tensor;
    out.pipelineParallel = c.parallel.pipeline;
    out.dataParallel = c.parallel.data;
    const std::int32_t ranks = c.parallel.ranks();
    out.device = std::string(c.device == "cuda" ? "CUDA" : "CPU") + ", " + std::to_string(ranks) + (ranks == 1 ? " rank" : " ranks");
    out.totalSteps = c.steps;
    out.tokensPerStep = c.tokensPerStep();
    out.totalTokens = c.steps * c.tokensPerStep();
    out.learningRate = c.optimizer.learningRate * c.optimizer.lrScale;
    out.minimumLearningRate = c.optimizer.minimumLearningRate * c.optimizer.lrScale;
    out.clipGrad = c.optimizer.clipGrad;
    out.lrSchedule = c.schedule.type;
    out.validationEvery = c.validation.everySteps;
    out.checkpointEvery = c.checkpoint.everySteps;
    const auto share = [&](const std::string& domain) {
        const auto found = target.find(domain);
        return found == target.end() ? 0.0 : found->second;
    };
    const auto seen = [&](const std::string& domain) {
        const auto found = tokensSeen.find(domain);
        return found == tokensSeen.end() ? std::int64_t{0} : static_cast<std::int64_t>(found->second + 0.5);
    };
    for (const CorpusDomain& domain : corpus)
        out.domains.push_back({domain.name, domain.languages, domain.trainTokens, seen(domain.name), share(domain.name)});
    if (corpus.empty()) // the corpus has moved away: the mixture is known all the same
        for (const auto& [domain, value] : target)
            out.domains.push_back({domain, "", 0, seen(domain), value});
    return out;
}

} // namespace telehelm::daemon
