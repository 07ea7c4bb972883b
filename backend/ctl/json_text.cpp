// SPDX-License-Identifier: Apache-2.0
#include "ctl/json_text.h"

#include <cmath>

#include "ctl/format.h"

namespace telehelm::ctl {

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(exactNumber(value)); }

Json toJson(const ipc::AttemptInfo& a) {
    return {{"attempt", a.key.attempt},      {"parent", a.parent},
            {"fork_step", a.forkStep},       {"state", name(a.state)},
            {"state_text", a.stateText},     {"started_us", a.startedUs},
            {"ended_us", a.endedUs},         {"step", a.step},
            {"tokens", a.tokens},            {"last_heard_us", a.lastHeardUs},
            {"points_emitted", a.pointsEmitted}, {"points_stored", a.pointsStored},
            {"last_sequence", a.lastSequence},   {"run_dir", a.runDir}};
}

Json toJson(const ipc::RunInfo& run) {
    Json domains = Json::array();
    for (const ipc::DomainInfo& d : run.domains)
        domains.push_back({{"name", d.name}, {"languages", d.languages}, {"train_tokens", d.trainTokens},
                           {"tokens_seen", d.tokensSeen}, {"target", number(d.target)}});
    Json origin;
    if (run.origin)
        origin = {{"folder", run.origin->folder},          {"own_name", run.origin->ownName}, {"trained_on", run.origin->trainedOn},
                  {"imported_us", run.origin->importedUs}, {"author", run.origin->author},    {"host", run.origin->host}};
    return {{"run", run.run},
            {"description", run.description},
            {"created_us", run.createdUs},
            {"device", run.device},
            {"parameters", run.parameters},
            {"mesh", {{"tensor", run.tensorParallel}, {"pipeline", run.pipelineParallel}, {"data", run.dataParallel}}},
            {"total_steps", run.totalSteps},
            {"tokens_per_step", run.tokensPerStep},
            {"total_tokens", run.totalTokens},
            {"learning_rate", number(run.learningRate)},
            {"minimum_learning_rate", number(run.minimumLearningRate)},
            {"lr_schedule", run.lrSchedule},
            {"clip_grad", number(run.clipGrad)},
            {"validation_every", run.validationEvery},
            {"checkpoint_every", run.checkpointEvery},
            {"domains", domains},
            {"origin", origin}, // null: started here
            {"attempts", toJson(run.attempts)}};
}

Json toJson(const ipc::Event& e) {
    return {{"id", e.id},     {"run", e.key.run},       {"attempt", e.key.attempt}, {"kind", name(e.kind)}, {"severity", name(e.severity)},
            {"step", e.step}, {"tokens", e.tokens},     {"wall_us", e.wallUs},      {"text", e.text},       {"facts", e.facts}};
}

static Json mixtureJson(const ipc::Mixture& mixture) {
    Json shares = Json::object();
    for (const auto& [domain, share] : mixture)
        shares[domain] = number(share);
    return shares;
}

Json toJson(const ipc::Command& c) {
    Json json = {{"id", c.id},         {"run", c.key.run},       {"attempt", c.key.attempt}, {"kind", name(c.kind)},
                 {"state", name(c.state)}, {"outcome", c.outcome}, {"author", c.author},     {"host", c.host},
                 {"reason", c.reason}, {"at_step", c.atStep},    {"applied_step", c.appliedStep}, {"new_attempt", c.newAttempt},
                 {"diff", c.diff},     {"requested_us", c.requestedUs}, {"accepted_us", c.acceptedUs}, {"ended_us", c.endedUs}};
    if (c.kind == ipc::CommandKind::SetMixture)
        json["mixture"] = mixtureJson(c.mixture);
    if (c.kind == ipc::CommandKind::SetLrScale)
        json["lr_scale"] = number(c.lrScale);
    if (c.kind == ipc::CommandKind::Stop)
        json["save_checkpoint"] = c.saveCheckpoint;
    if (!c.restart)
        return json;
    Json& restart = json["restart"];
    restart = {{"checkpoint_attempt", c.restart->checkpointAttempt}, {"checkpoint_step", c.restart->checkpointStep},
               {"skip_batches", c.restart->skipBatches}};
    if (c.restart->lrScale)
        restart["lr_scale"] = number(*c.restart->lrScale);
    if (c.restart->clipGrad)
        restart["clip_grad"] = number(*c.restart->clipGrad);
    if (c.restart->dataSeed)
        restart["data_seed"] = *c.restart->dataSeed;
    if (c.restart->mixture)
        restart["mixture"] = mixtureJson(*c.restart->mixture);
    return json;
}

Json toJson(const ipc::CheckpointInfo& c) {
    return {{"run", c.key.run},   {"attempt", c.key.attempt}, {"step", c.step},         {"tokens", c.tokens}, {"saved_us", c.savedUs},
            {"bytes", c.bytes},   {"path", c.path},           {"verified", c.verified}, {"damage", c.damage},
            {"train_loss", number(c.trainLoss)}, {"grad_norm", number(c.gradNorm)}};
}

Json toJson(const ipc::SeriesInfo& s) {
    return {{"run", s.key.run},         {"attempt", s.key.attempt},  {"name", s.name},   {"points", s.points},
            {"first_step", s.firstStep}, {"last_step", s.lastStep}, {"latest", number(s.latest)}};
}

Json toJson(const ipc::HelloInfo& h) {
    return {{"program", h.program}, {"protocol", h.protocol},   {"epoch", h.epoch},       {"pid", h.pid}, {"state_dir", h.stateDir},
            {"live", h.liveEndpoint}, {"link", h.linkEndpoint}, {"started_us", h.startedUs}, {"points_stored", h.pointsStored}};
}

Json toJson(const ipc::LineageBranch& b) {
    Json json = {{"attempt", b.key.attempt},     {"parent", b.parent},         {"fork_step", b.forkStep}, {"effective", b.isEffective},
                 {"lost_steps", b.lostSteps},    {"lost_tokens", b.lostTokens}, {"lost_wall_us", b.lostWallUs}};
    if (b.isEffective)
        json["effective_to"] = b.effectiveTo;
    if (b.cutBy != 0)
        json["cut_by"] = b.cutBy;
    if (b.abandonedFrom <= b.abandonedTo)
        json["abandoned"] = {b.abandonedFrom, b.abandonedTo};
    return json;
}

Json toJson(const ipc::LineageInfo& l) {
    return {{"run", l.run}, {"branches", toJson(l.branches)}, {"lost_steps", l.lostSteps}, {"lost_tokens", l.lostTokens}, {"lost_wall_us", l.lostWallUs}};
}

} // namespace telehelm::ctl
