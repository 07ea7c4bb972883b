// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.h"

namespace telehelm::ipc {

void toWire(const HelloInfo& from, v1::HelloInfo& to) {
    to.set_protocol(from.protocol);
    to.set_program(mendUtf8(from.program));
    to.set_epoch(mendUtf8(from.epoch));
    to.set_state_dir(mendUtf8(from.stateDir));
    to.set_pid(from.pid);
    to.set_live_endpoint(mendUtf8(from.liveEndpoint));
    to.set_link_endpoint(mendUtf8(from.linkEndpoint));
    to.set_started_us(from.startedUs);
    to.set_points_stored(from.pointsStored);
}

Result<void> fromWire(const v1::HelloInfo& from, HelloInfo& to) {
    to.protocol = from.protocol();
    to.program = from.program();
    to.epoch = from.epoch();
    to.stateDir = from.state_dir();
    to.pid = from.pid();
    to.liveEndpoint = from.live_endpoint();
    to.linkEndpoint = from.link_endpoint();
    to.startedUs = from.started_us();
    to.pointsStored = from.points_stored();
    return {};
}

void toWire(const StartRequest& from, v1::StartRunRequest& to) {
    to.set_config_toml(mendUtf8(from.configToml));
    to.set_config_path(mendUtf8(from.configPath));
    to.set_name(mendUtf8(from.name));
    to.set_author(mendUtf8(from.author));
    to.set_host(mendUtf8(from.host));
    to.set_reason(mendUtf8(from.reason));
    to.set_ranks(from.ranks);
    to.set_command_id(mendUtf8(from.commandId));
}

void fromWire(const v1::StartRunRequest& from, StartRequest& to) {
    to.configToml = from.config_toml();
    to.configPath = from.config_path();
    to.name = from.name();
    to.author = from.author();
    to.host = from.host();
    to.reason = from.reason();
    to.ranks = from.ranks();
    to.commandId = from.command_id();
}

void toWire(const DeleteRequest& from, v1::DeleteRunRequest& to) {
    to.set_run(mendUtf8(from.run));
    to.set_keep_checkpoints(from.keepCheckpoints);
    to.set_only_look(from.onlyLook);
    to.set_author(mendUtf8(from.author));
    to.set_host(mendUtf8(from.host));
    to.set_reason(mendUtf8(from.reason));
}

void fromWire(const v1::DeleteRunRequest& from, DeleteRequest& to) {
    to.run = from.run();
    to.keepCheckpoints = from.keep_checkpoints();
    to.onlyLook = from.only_look();
    to.author = from.author();
    to.host = from.host();
    to.reason = from.reason();
}

void toWire(const DeletedRun& from, v1::DeletedRun& to) {
    to.set_id(mendUtf8(from.id));
    to.set_run(mendUtf8(from.run));
    to.set_deleted_us(from.deletedUs);
    to.set_author(mendUtf8(from.author));
    to.set_host(mendUtf8(from.host));
    to.set_reason(mendUtf8(from.reason));
    to.set_attempts(from.attempts);
    to.set_points(from.points);
    to.set_checkpoints(from.checkpoints);
    to.set_checkpoint_bytes(from.checkpointBytes);
    to.set_kept_in(mendUtf8(from.keptIn));
}

Result<void> fromWire(const v1::DeletedRun& from, DeletedRun& to) {
    to.id = from.id();
    to.run = from.run();
    to.deletedUs = from.deleted_us();
    to.author = from.author();
    to.host = from.host();
    to.reason = from.reason();
    to.attempts = from.attempts();
    to.points = from.points();
    to.checkpoints = from.checkpoints();
    to.checkpointBytes = from.checkpoint_bytes();
    to.keptIn = from.kept_in();
    return {};
}

void toWire(const SeriesInfo& from, v1::SeriesInfo& to) {
    toWire(from.key, *to.mutable_key());
    to.set_name(mendUtf8(from.name));
    to.set_points(from.points);
    to.set_first_step(from.firstStep);
    to.set_last_step(from.lastStep);
    to.set_latest(from.latest);
}

Result<void> fromWire(const v1::SeriesInfo& from, SeriesInfo& to) {
    fromWire(from.key(), to.key);
    to.name = from.name();
    to.points = from.points();
    to.firstStep = from.first_step();
    to.lastStep = from.last_step();
    to.latest = from.latest();
    return {};
}

void toWire(const WatchUpdate& from, v1::WatchUpdate& to) {
    if (from.run)
        toWire(*from.run, *to.mutable_run());
    else if (from.event)
        toWire(*from.event, *to.mutable_event());
    else if (from.command)
        toWire(*from.command, *to.mutable_command());
    else if (from.deleted)
        toWire(*from.deleted, *to.mutable_deleted());
}

Result<void> fromWire(const v1::WatchUpdate& from, WatchUpdate& to) {
    to = {};
    switch (from.change_case()) {
    case v1::WatchUpdate::kRun: return fromWire(from.run(), to.run.emplace());
    case v1::WatchUpdate::kEvent: return fromWire(from.event(), to.event.emplace());
    case v1::WatchUpdate::kCommand: return fromWire(from.command(), to.command.emplace());
    case v1::WatchUpdate::kDeleted: return fromWire(from.deleted(), to.deleted.emplace());
    case v1::WatchUpdate::CHANGE_NOT_SET: break; // a beat, or a change that only newer peers know
    }
    return {};
}

void toWire(const News& from, v1::News& to) {
    to.set_epoch(mendUtf8(from.epoch));
    to.set_news(from.news);
    to.set_published_us(from.publishedUs);
    toWire(from.batch, *to.mutable_batch());
    if (from.attempt)
        toWire(*from.attempt, *to.mutable_attempt());
    if (from.command)
        toWire(*from.command, *to.mutable_command());
    to.set_points_before(from.pointsBefore);
    to.set_counted_after(from.countedAfter);
    to.set_beat(from.beat);
}

Result<void> fromWire(const v1::News& from, News& to) {
    to = {};
    to.pointsBefore = from.points_before();
    to.countedAfter = from.counted_after();
    to.beat = from.beat();
    to.epoch = from.epoch();
    to.news = from.news();
    to.publishedUs = from.published_us();
    if (auto ok = fromWire(from.batch(), to.batch); !ok)
        return ok;
    if (from.has_attempt())
        if (auto ok = fromWire(from.attempt(), to.attempt.emplace()); !ok)
            return ok;
    return from.has_command() ? fromWire(from.command(), to.command.emplace()) : Result<void>{};
}

void toWire(const TrainerHello& from, v1::TrainerHello& to) {
    toWire(from.key, *to.mutable_key());
    to.set_protocol(kLinkVersion);
    to.set_pid(from.pid);
    to.set_ranks(from.ranks);
    to.set_host(mendUtf8(from.host));
    to.set_launcher_note(mendUtf8(from.launcherNote));
    to.set_first_unacked(from.firstUnacked);
}

void fromWire(const v1::TrainerHello& from, TrainerHello& to) {
    fromWire(from.key(), to.key);
    to.pid = from.pid();
    to.ranks = from.ranks();
    to.host = from.host();
    to.launcherNote = from.launcher_note();
    to.firstUnacked = from.first_unacked();
}

} // namespace telehelm::ipc
