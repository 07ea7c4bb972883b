// SPDX-License-Identifier: Apache-2.0
#include "train/mixture.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace telehelm::train {
namespace {

std::string domainList(const data::Corpus& corpus) {
    std::string text;
    for (const data::Domain& domain : corpus.domains()) {
        text += (text.empty() ? "" : ", ") + domain.name;
    }
    return text;
}

/// Which of the config's values count against the checkpoint's.
struct Taken {
    bool lrScale, seed, skip, mixture;
    [[nodiscard]] bool data() const { return seed || skip || mixture; }
};

Taken takenFrom(const config::RunConfig& config, const Manifest& manifest, const ipc::AttemptKey& own) {
    if (!config.resume.take.empty() && manifest.key != own) {
        const std::string words = " " + config.resume.take + " ";
        const auto has = [&](const char* word) { return words.find(" " + std::string(word) + " ") != std::string::npos; };
        return {.lrScale = has("lr_scale"), .seed = has("seed"), .skip = has("skip_batches"), .mixture = has("mixture")};
    }
    const ConfigMarks now = marksOf(config);
    const ConfigMarks& then = manifest.config;
    return {.lrScale = now.lrScale != then.lrScale,
            .seed = now.dataSeed != then.dataSeed,
            .skip = now.skipBatches != then.skipBatches,
            .mixture = now.mixture != then.mixture};
}

Result<std::vector<data::MixtureChange>> historyOf(const data::Corpus& corpus, const Manifest& manifest) {
    std::vector<data::MixtureChange> history;
    for (const NamedMixtureChange& change : manifest.mixtureHistory) {
        auto shares = sharesInOrder(corpus, change.shares, 1e-6);
        if (!shares) {
            return fail(shares.error().code, "the checkpoint's mixture does not fit the corpus: " + shares.error().message,
                        "[data] corpus");
        }
        history.push_back(
            {.step = change.step, .shares = std::move(*shares), .seed = change.seed, .skipBatches = change.skipBatches});
    }
    if (history.empty()) {
        return fail(ErrorCode::DataLoss, "the checkpoint's manifest has no mixture history");
    }
    return history;
}

} // namespace

Result<std::vector<double>> sharesInOrder(const data::Corpus& corpus, const std::map<std::string, double>& shares,
                                          double tolerance) {
    std::vector<double> ordered(corpus.domains().size(), 0.0);
    double sum = 0;
    for (const auto& [name, share] : shares) {
        const auto domain = std::ranges::find(corpus.domains(), name, &data::Domain::name);
        if (domain == corpus.domains().end()) {
            return fail(ErrorCode::InvalidArgument, "the corpus has no domain \"" + name + "\"; it has " + domainList(corpus));
        }
        if (!(share >= 0) || !std::isfinite(share)) {
            return fail(ErrorCode::InvalidArgument, name + ": a share must not be negative");
        }
        if (share > 0 && domain->tokens == 0) {
            return fail(ErrorCode::InvalidArgument, name + " has no training text in this corpus; its share must be 0");
        }
        ordered[static_cast<std::size_t>(domain - corpus.domains().begin())] = share;
        sum += share;
    }
    if (std::abs(sum - 1.0) > tolerance + 1e-12) {
        std::ostringstream text;
        text << "the shares add up to " << sum * 100 << " %, not to 100 %";
        return fail(ErrorCode::InvalidArgument, text.str());
    }
    if (std::abs(sum - 1.0) > 1e-9) { // what is written and read again must stay the same bits
        std::ranges::for_each(ordered, [&](double& share) { share /= sum; });
    }
    return ordered;
}

Result<std::vector<double>> configShares(const data::Corpus& corpus, const config::DataConfig& data) {
    std::map<std::string, double> shares;
    for (const auto& [domain, percent] : data.mixture) {
        shares[domain] = percent / 100.0;
    }
    auto ordered = sharesInOrder(corpus, shares, 1e-4);
    if (!ordered) {
        ordered.error().context = "[data.mixture]";
    }
    return ordered;
}

std::map<std::string, double> named(const data::Corpus& corpus, const std::vector<double>& shares) {
    std::map<std::string, double> byName;
    for (std::size_t domain = 0; domain < shares.size(); ++domain) {
        byName[corpus.domains()[domain].name] = shares[domain];
    }
    return byName;
}

/// What changes the result and is not in the weights' shapes.
std::map<std::string, double> settingsOf(const config::RunConfig& config) {
    const config::ModelConfig& model = config.model;
    return {{kHeadsSetting, static_cast<double>(model.attentionHeads)},
            {"[model] context_length", static_cast<double>(model.contextLength)},
            {"[model] rope_theta", model.ropeTheta},
            {"[model] norm_epsilon", model.normEpsilon},
            {"[model] input_mult", model.inputMult},
            {"[model] output_mult", model.outputMult},
            {"[batch] sequences", static_cast<double>(config.batch.sequences)}};
}

ConfigMarks marksOf(const config::RunConfig& config) {
    return {.lrScale = config.optimizer.lrScale,
            .dataSeed = config.data.seed,
            .skipBatches = config.data.skipBatches,
            .mixture = config.data.mixture,
            .optimizer = optimizerMarks(config),
            .settings = settingsOf(config)};
}

std::vector<NamedMixtureChange> namedHistory(const data::Corpus& corpus, const std::vector<data::MixtureChange>& history) {
    std::vector<NamedMixtureChange> changes;
    for (const data::MixtureChange& change : history) {
        changes.push_back({.step = change.step,
                           .shares = named(corpus, change.shares),
                           .seed = change.seed,
                           .skipBatches = change.skipBatches});
    }
    return changes;
}

Result<Fork> forkFrom(const config::RunConfig& config, const data::Corpus& corpus, const Manifest* manifest,
                      const ipc::AttemptKey& own) {
    auto shares = configShares(corpus, config.data);
    if (!shares) {
        return tl::unexpected(shares.error());
    }
    Fork fork{.history = {}, .lrScale = config.optimizer.lrScale, .changed = false};
    if (manifest == nullptr) {
        fork.history = {
            {.step = 1, .shares = std::move(*shares), .seed = config.data.seed, .skipBatches = config.data.skipBatches}};
        return fork;
    }
    auto history = historyOf(corpus, *manifest);
    if (!history) {
        return tl::unexpected(history.error());
    }
    fork.history = std::move(*history);
    const Taken taken = takenFrom(config, *manifest, own);
    fork.lrScale = taken.lrScale ? config.optimizer.lrScale : manifest->lrScale;
    if (taken.data()) {
        // Changes that were planned for later fall away: the operator decides anew.
        std::erase_if(fork.history,
                      [&](const data::MixtureChange& change) { return change.step > manifest->step && change.step > 1; });
        data::MixtureChange change = fork.history.back();
        change.step = std::max<std::int64_t>(1, manifest->step + 1);
        change.shares = taken.mixture ? std::move(*shares) : change.shares;
        change.seed = taken.seed ? config.data.seed : change.seed;
        change.skipBatches = taken.skip ? config.data.skipBatches : 0;
        if (fork.history.back().step == change.step) {
            fork.history.pop_back(); // a checkpoint at step 0
        }
        fork.history.push_back(std::move(change));
        fork.changed = true;
    }
    return fork;
}

std::string mixtureText(const std::map<std::string, double>& shares) {
    std::ostringstream text;
    text.precision(4);
    for (const auto& [domain, share] : shares) {
        text << (text.tellp() > 0 ? ", " : "") << domain << ' ' << share * 100 << " %";
    }
    return text.str();
}

} // namespace telehelm::train
