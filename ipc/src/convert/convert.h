// SPDX-License-Identifier: Apache-2.0
// Values ↔ protobuf. toWire() always succeeds (text that is not UTF-8 is mended, since protobuf readers refuse it);
// fromWire() refuses what it cannot understand and never throws. Pure functions, any thread.
#pragma once

#include <string>
#include <string_view>

#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/trainer_link.h"
#include "telehelm/ipc/types.h"
#include "telehelm/v1/control.pb.h"
#include "telehelm/v1/live.pb.h"
#include "telehelm/v1/run.pb.h"
#include "telehelm/v1/telemetry.pb.h"
#include "telehelm/v1/trainer.pb.h"

namespace telehelm::ipc {

/// The text with every byte that is not part of valid UTF-8 replaced by U+FFFD.
[[nodiscard]] std::string mendUtf8(std::string_view text);

// telemetry.proto
void toWire(const AttemptKey& from, v1::AttemptKey& to);
void fromWire(const v1::AttemptKey& from, AttemptKey& to);
void toWire(const SeriesBlock& from, v1::SeriesBlock& to);
[[nodiscard]] Result<void> fromWire(const v1::SeriesBlock& from, SeriesBlock& to);
void toWire(const Event& from, v1::Event& to);
[[nodiscard]] Result<void> fromWire(const v1::Event& from, Event& to);
void toWire(const CommandOutcome& from, v1::CommandOutcome& to);
[[nodiscard]] Result<void> fromWire(const v1::CommandOutcome& from, CommandOutcome& to);
void toWire(const TelemetryBatch& from, v1::TelemetryBatch& to);
[[nodiscard]] Result<void> fromWire(const v1::TelemetryBatch& from, TelemetryBatch& to);

// run.proto
void toWire(const RestartOptions& from, v1::RestartOptions& to);
[[nodiscard]] Result<void> fromWire(const v1::RestartOptions& from, RestartOptions& to);
void toWire(const Command& from, v1::Command& to);
[[nodiscard]] Result<void> fromWire(const v1::Command& from, Command& to);
void toWire(const AttemptInfo& from, v1::AttemptInfo& to);
[[nodiscard]] Result<void> fromWire(const v1::AttemptInfo& from, AttemptInfo& to);
void toWire(const RunInfo& from, v1::RunInfo& to);
[[nodiscard]] Result<void> fromWire(const v1::RunInfo& from, RunInfo& to);
void toWire(const CheckpointInfo& from, v1::CheckpointInfo& to);
[[nodiscard]] Result<void> fromWire(const v1::CheckpointInfo& from, CheckpointInfo& to);

// control.proto
void toWire(const RunCounters& from, v1::RunCounters& to);
[[nodiscard]] Result<void> fromWire(const v1::RunCounters& from, RunCounters& to);
void toWire(const ClientCounters& from, v1::ClientCounters& to);
[[nodiscard]] Result<void> fromWire(const v1::ClientCounters& from, ClientCounters& to);
void toWire(const DaemonStatus& from, v1::StatusReply& to);
[[nodiscard]] Result<void> fromWire(const v1::StatusReply& from, DaemonStatus& to);
void toWire(const HelloInfo& from, v1::HelloInfo& to);
[[nodiscard]] Result<void> fromWire(const v1::HelloInfo& from, HelloInfo& to);
void toWire(const StartRequest& from, v1::StartRunRequest& to);
void fromWire(const v1::StartRunRequest& from, StartRequest& to);
void toWire(const DeleteRequest& from, v1::DeleteRunRequest& to);
void fromWire(const v1::DeleteRunRequest& from, DeleteRequest& to);
void toWire(const DeletedRun& from, v1::DeletedRun& to);
[[nodiscard]] Result<void> fromWire(const v1::DeletedRun& from, DeletedRun& to);
void toWire(const ImportRequest& from, v1::ImportRunRequest& to);
void fromWire(const v1::ImportRunRequest& from, ImportRequest& to);
void toWire(const ImportProgress& from, v1::ImportUpdate& to);
void fromWire(const v1::ImportUpdate& from, ImportProgress& to); // the report: apart
void toWire(const ImportReport& from, v1::ImportReport& to);
[[nodiscard]] Result<void> fromWire(const v1::ImportReport& from, ImportReport& to);
void toWire(const SeriesQuery& from, v1::SeriesQuery& to);
[[nodiscard]] Result<void> fromWire(const v1::SeriesQuery& from, SeriesQuery& to);
void toWire(const SeriesSegment& from, v1::SeriesSegment& to);
[[nodiscard]] Result<void> fromWire(const v1::SeriesSegment& from, SeriesSegment& to);
void toWire(const SeriesInfo& from, v1::SeriesInfo& to);
[[nodiscard]] Result<void> fromWire(const v1::SeriesInfo& from, SeriesInfo& to);
void toWire(const SeriesListQuery& from, v1::ListSeriesRequest& to);
void fromWire(const v1::ListSeriesRequest& from, SeriesListQuery& to);
void toWire(const SeriesPage& from, v1::ListSeriesReply& to);
[[nodiscard]] Result<void> fromWire(const v1::ListSeriesReply& from, SeriesPage& to);
void toWire(const LineageInfo& from, v1::LineageInfo& to);
[[nodiscard]] Result<void> fromWire(const v1::LineageInfo& from, LineageInfo& to);
void toWire(const WatchUpdate& from, v1::WatchUpdate& to);
[[nodiscard]] Result<void> fromWire(const v1::WatchUpdate& from, WatchUpdate& to);

// live.proto, trainer.proto
void toWire(const News& from, v1::News& to);
[[nodiscard]] Result<void> fromWire(const v1::News& from, News& to);
void toWire(const TrainerHello& from, v1::TrainerHello& to); // protocol: ours
void fromWire(const v1::TrainerHello& from, TrainerHello& to);

/// Repeated field ↔ vector.
template <typename Wire, typename Value>
void toWireAll(const std::vector<Value>& from, google::protobuf::RepeatedPtrField<Wire>& to) {
    to.Reserve(static_cast<int>(from.size()));
    for (const Value& value : from)
        toWire(value, *to.Add());
}
template <typename Wire, typename Value>
[[nodiscard]] Result<void> fromWireAll(const google::protobuf::RepeatedPtrField<Wire>& from, std::vector<Value>& to) {
    to.resize(static_cast<std::size_t>(from.size()));
    for (int i = 0; i < from.size(); ++i)
        if (auto ok = fromWire(from.Get(i), to[static_cast<std::size_t>(i)]); !ok)
            return ok;
    return {};
}

} // namespace telehelm::ipc
