// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.h"

namespace telehelm::ipc {
namespace {

void toWire(const Mixture& from, v1::Mixture& to) {
    for (const auto& [domain, share] : from)
        (*to.mutable_share())[mendUtf8(domain)] = share;
}

Mixture mixtureFromWire(const v1::Mixture& from) {
    Mixture to;
    for (const auto& [domain, share] : from.share())
        to.emplace(domain, share);
    return to;
}

void toWire(const DomainInfo& from, v1::DomainInfo& to) {
    to.set_name(mendUtf8(from.name));
    to.set_languages(mendUtf8(from.languages));
    to.set_train_tokens(from.trainTokens);
    to.set_tokens_seen(from.tokensSeen);
    to.set_target(from.target);
}

DomainInfo domainFromWire(const v1::DomainInfo& from) {
    DomainInfo to;
    to.name = from.name();
    to.languages = from.languages();
    to.trainTokens = from.train_tokens();
    to.tokensSeen = from.tokens_seen();
    to.target = from.target();
    return to;
}

void originToWire(const RunOrigin& from, v1::RunOrigin& to) {
    to.set_folder(mendUtf8(from.folder));
    to.set_own_name(mendUtf8(from.ownName));
    to.set_trained_on(mendUtf8(from.trainedOn));
    to.set_imported_us(from.importedUs);
    to.set_author(mendUtf8(from.author));
    to.set_host(mendUtf8(from.host));
}

RunOrigin originFromWire(const v1::RunOrigin& from) {
    return {from.folder(), from.own_name(), from.trained_on(), from.imported_us(), from.author(), from.host()};
}

} // namespace

void toWire(const RestartOptions& from, v1::RestartOptions& to) {
    to.set_checkpoint_attempt(from.checkpointAttempt);
    to.set_checkpoint_step(from.checkpointStep);
    if (from.lrScale)
        to.set_lr_scale(*from.lrScale);
    if (from.clipGrad)
        to.set_clip_grad(*from.clipGrad);
    if (from.dataSeed)
        to.set_data_seed(*from.dataSeed);
    to.set_skip_batches(from.skipBatches);
    if (from.mixture)
        toWire(*from.mixture, *to.mutable_mixture());
}

Result<void> fromWire(const v1::RestartOptions& from, RestartOptions& to) {
    to.checkpointAttempt = from.checkpoint_attempt();
    to.checkpointStep = from.checkpoint_step();
    to.lrScale = from.has_lr_scale() ? std::optional(from.lr_scale()) : std::nullopt;
    to.clipGrad = from.has_clip_grad() ? std::optional(from.clip_grad()) : std::nullopt;
    to.dataSeed = from.has_data_seed() ? std::optional<std::uint64_t>(from.data_seed()) : std::nullopt;
    to.skipBatches = from.skip_batches();
    to.mixture = from.has_mixture() ? std::optional(mixtureFromWire(from.mixture())) : std::nullopt;
    return {};
}

void toWire(const Command& from, v1::Command& to) {
    to.set_id(mendUtf8(from.id));
    toWire(from.key, *to.mutable_key());
    to.set_kind(static_cast<v1::CommandKind>(from.kind));
    to.set_author(mendUtf8(from.author));
    to.set_host(mendUtf8(from.host));
    to.set_reason(mendUtf8(from.reason));
    to.set_at_step(from.atStep);
    to.set_save_checkpoint(from.saveCheckpoint);
    to.set_lr_scale(from.lrScale);
    toWire(from.mixture, *to.mutable_mixture());
    if (from.restart)
        toWire(*from.restart, *to.mutable_restart());
    to.set_state(static_cast<v1::CommandState>(from.state));
    to.set_outcome(mendUtf8(from.outcome));
    to.set_applied_step(from.appliedStep);
    to.set_new_attempt(from.newAttempt);
    to.set_diff(mendUtf8(from.diff));
    to.set_requested_us(from.requestedUs);
    to.set_accepted_us(from.acceptedUs);
    to.set_ended_us(from.endedUs);
}

Result<void> fromWire(const v1::Command& from, Command& to) {
    // Acting on an order that is only half understood would be worse than refusing it.
    if (from.kind() == v1::COMMAND_KIND_UNSPECIFIED || !v1::CommandKind_IsValid(from.kind()))
        return fail(ErrorCode::InvalidArgument, "unknown command kind " + std::to_string(from.kind()), "command " + from.id());
    if (from.state() == v1::COMMAND_STATE_UNSPECIFIED || !v1::CommandState_IsValid(from.state()))
        return fail(ErrorCode::InvalidArgument, "unknown command state " + std::to_string(from.state()), "command " + from.id());
    to.id = from.id();
    fromWire(from.key(), to.key);
    to.kind = static_cast<CommandKind>(from.kind());
    to.author = from.author();
    to.host = from.host();
    to.reason = from.reason();
    to.atStep = from.at_step();
    to.saveCheckpoint = from.save_checkpoint();
    to.lrScale = from.lr_scale();
    to.mixture = mixtureFromWire(from.mixture());
    to.state = static_cast<CommandState>(from.state());
    to.outcome = from.outcome();
    to.appliedStep = from.applied_step();
    to.newAttempt = from.new_attempt();
    to.diff = from.diff();
    to.requestedUs = from.requested_us();
    to.acceptedUs = from.accepted_us();
    to.endedUs = from.ended_us();
    to.restart.reset();
    return from.has_restart() ? fromWire(from.restart(), to.restart.emplace()) : Result<void>{};
}

void toWire(const AttemptInfo& from, v1::AttemptInfo& to) {
    toWire(from.key, *to.mutable_key());
    to.set_parent(from.parent);
    to.set_fork_step(from.forkStep);
    to.set_state(static_cast<v1::AttemptState>(from.state));
    to.set_state_text(mendUtf8(from.stateText));
    to.set_started_us(from.startedUs);
    to.set_ended_us(from.endedUs);
    to.set_step(from.step);
    to.set_tokens(from.tokens);
    to.set_last_heard_us(from.lastHeardUs);
    to.set_points_emitted(from.pointsEmitted);
    to.set_points_stored(from.pointsStored);
    to.set_last_sequence(from.lastSequence);
    to.set_config_toml(mendUtf8(from.configToml));
    to.set_run_dir(mendUtf8(from.runDir));
}

Result<void> fromWire(const v1::AttemptInfo& from, AttemptInfo& to) {
    if (from.state() == v1::ATTEMPT_STATE_UNSPECIFIED || !v1::AttemptState_IsValid(from.state()))
        return fail(ErrorCode::InvalidArgument, "unknown attempt state " + std::to_string(from.state()), "run " + from.key().run());
    fromWire(from.key(), to.key);
    to.parent = from.parent();
    to.forkStep = from.fork_step();
    to.state = static_cast<AttemptState>(from.state());
    to.stateText = from.state_text();
    to.startedUs = from.started_us();
    to.endedUs = from.ended_us();
    to.step = from.step();
    to.tokens = from.tokens();
    to.lastHeardUs = from.last_heard_us();
    to.pointsEmitted = from.points_emitted();
    to.pointsStored = from.points_stored();
    to.lastSequence = from.last_sequence();
    to.configToml = from.config_toml();
    to.runDir = from.run_dir();
    return {};
}

void toWire(const RunInfo& from, v1::RunInfo& to) {
    to.set_run(mendUtf8(from.run));
    to.set_description(mendUtf8(from.description));
    to.set_created_us(from.createdUs);
    toWireAll(from.attempts, *to.mutable_attempts());
    to.set_parameters(from.parameters);
    to.set_tensor_parallel(from.tensorParallel);
    to.set_pipeline_parallel(from.pipelineParallel);
    to.set_data_parallel(from.dataParallel);
    to.set_device(mendUtf8(from.device));
    to.set_total_steps(from.totalSteps);
    to.set_tokens_per_step(from.tokensPerStep);
    to.set_total_tokens(from.totalTokens);
    to.set_learning_rate(from.learningRate);
    to.set_minimum_learning_rate(from.minimumLearningRate);
    to.set_clip_grad(from.clipGrad);
    to.set_lr_schedule(mendUtf8(from.lrSchedule));
    to.set_validation_every(from.validationEvery);
    to.set_checkpoint_every(from.checkpointEvery);
    for (const DomainInfo& domain : from.domains)
        toWire(domain, *to.add_domains());
    if (from.origin)
        originToWire(*from.origin, *to.mutable_origin());
}

Result<void> fromWire(const v1::RunInfo& from, RunInfo& to) {
    to.run = from.run();
    to.description = from.description();
    to.createdUs = from.created_us();
    to.parameters = from.parameters();
    to.tensorParallel = from.tensor_parallel();
    to.pipelineParallel = from.pipeline_parallel();
    to.dataParallel = from.data_parallel();
    to.device = from.device();
    to.totalSteps = from.total_steps();
    to.tokensPerStep = from.tokens_per_step();
    to.totalTokens = from.total_tokens();
    to.learningRate = from.learning_rate();
    to.minimumLearningRate = from.minimum_learning_rate();
    to.clipGrad = from.clip_grad();
    to.lrSchedule = from.lr_schedule();
    to.validationEvery = from.validation_every();
    to.checkpointEvery = from.checkpoint_every();
    to.domains.clear();
    for (const v1::DomainInfo& domain : from.domains())
        to.domains.push_back(domainFromWire(domain));
    to.origin = from.has_origin() ? std::optional(originFromWire(from.origin())) : std::nullopt;
    return fromWireAll(from.attempts(), to.attempts);
}

void toWire(const CheckpointInfo& from, v1::CheckpointInfo& to) {
    toWire(from.key, *to.mutable_key());
    to.set_step(from.step);
    to.set_tokens(from.tokens);
    to.set_saved_us(from.savedUs);
    to.set_bytes(from.bytes);
    to.set_path(mendUtf8(from.path));
    to.set_verified(from.verified);
    to.set_damage(mendUtf8(from.damage));
    to.set_train_loss(from.trainLoss);
    to.set_grad_norm(from.gradNorm);
}

Result<void> fromWire(const v1::CheckpointInfo& from, CheckpointInfo& to) {
    fromWire(from.key(), to.key);
    to.step = from.step();
    to.tokens = from.tokens();
    to.savedUs = from.saved_us();
    to.bytes = from.bytes();
    to.path = from.path();
    to.verified = from.verified();
    to.damage = from.damage();
    to.trainLoss = from.train_loss();
    to.gradNorm = from.grad_norm();
    return {};
}

} // namespace telehelm::ipc
