// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.h"

namespace telehelm::ipc {
namespace {

void attemptToWire(const ImportedAttempt& from, v1::ImportedAttempt& to) {
    toWire(from.key, *to.mutable_key());
    to.set_state(static_cast<v1::AttemptState>(from.state));
    to.set_step(from.step);
    to.set_batches(from.batches);
    to.set_points(from.points);
    to.set_points_added(from.pointsAdded);
    to.set_points_stored(from.pointsStored);
    for (const SequenceRange& range : from.missing) {
        auto& wire = *to.add_missing();
        wire.set_first(range.first);
        wire.set_last(range.last);
    }
    for (const std::string& sentence : from.damage)
        to.add_damage(mendUtf8(sentence));
}

Result<ImportedAttempt> attemptFromWire(const v1::ImportedAttempt& from) {
    if (from.state() == v1::ATTEMPT_STATE_UNSPECIFIED || !v1::AttemptState_IsValid(from.state()))
        return fail(ErrorCode::InvalidArgument, "unknown attempt state " + std::to_string(from.state()), "run " + from.key().run());
    ImportedAttempt to;
    fromWire(from.key(), to.key);
    to.state = static_cast<AttemptState>(from.state());
    to.step = from.step();
    to.batches = from.batches();
    to.points = from.points();
    to.pointsAdded = from.points_added();
    to.pointsStored = from.points_stored();
    for (const v1::SequenceRange& range : from.missing())
        to.missing.push_back({range.first(), range.last()});
    to.damage.assign(from.damage().begin(), from.damage().end());
    return to;
}

} // namespace

void toWire(const ImportRequest& from, v1::ImportRunRequest& to) {
    to.set_folder(mendUtf8(from.folder));
    to.set_name(mendUtf8(from.name));
    to.set_author(mendUtf8(from.author));
    to.set_host(mendUtf8(from.host));
    to.set_reason(mendUtf8(from.reason));
}

void fromWire(const v1::ImportRunRequest& from, ImportRequest& to) {
    to.folder = from.folder();
    to.name = from.name();
    to.author = from.author();
    to.host = from.host();
    to.reason = from.reason();
}

void toWire(const ImportProgress& from, v1::ImportUpdate& to) {
    to.set_done_bytes(from.doneBytes);
    to.set_total_bytes(from.totalBytes);
    to.set_points_added(from.pointsAdded);
}

void fromWire(const v1::ImportUpdate& from, ImportProgress& to) {
    to.doneBytes = from.done_bytes();
    to.totalBytes = from.total_bytes();
    to.pointsAdded = from.points_added();
}

void toWire(const ImportReport& from, v1::ImportReport& to) {
    to.set_run(mendUtf8(from.run));
    to.set_has_added(from.hasAdded);
    for (const ImportedAttempt& attempt : from.attempts)
        attemptToWire(attempt, *to.add_attempts());
    for (const std::string& sentence : from.warnings)
        to.add_warnings(mendUtf8(sentence));
}

Result<void> fromWire(const v1::ImportReport& from, ImportReport& to) {
    to.run = from.run();
    to.hasAdded = from.has_added();
    to.attempts.clear();
    for (const v1::ImportedAttempt& wire : from.attempts()) {
        auto attempt = attemptFromWire(wire);
        if (!attempt)
            return tl::unexpected(attempt.error());
        to.attempts.push_back(std::move(*attempt));
    }
    to.warnings.assign(from.warnings().begin(), from.warnings().end());
    return {};
}

} // namespace telehelm::ipc
