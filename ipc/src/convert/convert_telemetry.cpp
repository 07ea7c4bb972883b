// SPDX-License-Identifier: Apache-2.0
#include "convert/columns.h"
#include "convert/convert.h"

namespace telehelm::ipc {

void toWire(const AttemptKey& from, v1::AttemptKey& to) {
    to.set_run(mendUtf8(from.run));
    to.set_attempt(from.attempt);
}

void fromWire(const v1::AttemptKey& from, AttemptKey& to) {
    to.run = from.run();
    to.attempt = from.attempt();
}

void toWire(const SeriesBlock& from, v1::SeriesBlock& to) {
    to.set_name(mendUtf8(from.name));
    const auto count = static_cast<int>(from.points.size());
    to.mutable_step_delta()->Reserve(count);
    to.mutable_tokens_delta()->Reserve(count);
    to.mutable_wall_us_delta()->Reserve(count);
    to.mutable_value()->Reserve(count);
    DeltaCoder step, tokens, wall;
    for (const Point& point : from.points) {
        to.add_step_delta(step.encode(point.step));
        to.add_tokens_delta(tokens.encode(point.tokens));
        to.add_wall_us_delta(wall.encode(point.wallUs));
        to.add_value(point.value);
    }
}

Result<void> fromWire(const v1::SeriesBlock& from, SeriesBlock& to) {
    const int count = from.value_size();
    if (from.step_delta_size() != count || from.tokens_delta_size() != count || from.wall_us_delta_size() != count)
        return fail(ErrorCode::DataLoss,
                    "columns differ in length: " + std::to_string(from.step_delta_size()) + " steps, " +
                        std::to_string(from.tokens_delta_size()) + " tokens, " + std::to_string(from.wall_us_delta_size()) +
                        " times, " + std::to_string(count) + " values",
                    "series " + from.name());
    to.name = from.name();
    to.points.resize(static_cast<std::size_t>(count));
    DeltaCoder step, tokens, wall;
    for (int i = 0; i < count; ++i) {
        Point& point = to.points[static_cast<std::size_t>(i)];
        point.step = step.decode(from.step_delta(i));
        point.tokens = tokens.decode(from.tokens_delta(i));
        point.wallUs = wall.decode(from.wall_us_delta(i));
        point.value = from.value(i);
    }
    return {};
}

void toWire(const Event& from, v1::Event& to) {
    to.set_id(from.id);
    toWire(from.key, *to.mutable_key());
    to.set_kind(static_cast<v1::EventKind>(from.kind));
    to.set_severity(static_cast<v1::Severity>(from.severity));
    to.set_step(from.step);
    to.set_tokens(from.tokens);
    to.set_wall_us(from.wallUs);
    to.set_text(mendUtf8(from.text));
    for (const auto& [key, value] : from.facts)
        (*to.mutable_facts())[mendUtf8(key)] = mendUtf8(value);
}

Result<void> fromWire(const v1::Event& from, Event& to) {
    to.id = from.id();
    fromWire(from.key(), to.key);
    // A newer peer's kinds stay readable by their sentence, so an unknown one is a note and not an error.
    const bool known = from.kind() != v1::EVENT_KIND_UNSPECIFIED && v1::EventKind_IsValid(from.kind());
    to.kind = known ? static_cast<EventKind>(from.kind()) : EventKind::Note;
    const bool graded = from.severity() != v1::SEVERITY_UNSPECIFIED && v1::Severity_IsValid(from.severity());
    to.severity = graded ? static_cast<Severity>(from.severity()) : Severity::Info;
    to.step = from.step();
    to.tokens = from.tokens();
    to.wallUs = from.wall_us();
    to.text = from.text();
    to.facts.clear();
    for (const auto& [key, value] : from.facts())
        to.facts.emplace(key, value);
    return {};
}

void toWire(const CommandOutcome& from, v1::CommandOutcome& to) {
    to.set_id(mendUtf8(from.id));
    to.set_state(static_cast<v1::CommandState>(from.state));
    to.set_step(from.step);
    to.set_text(mendUtf8(from.text));
}

Result<void> fromWire(const v1::CommandOutcome& from, CommandOutcome& to) {
    if (from.state() == v1::COMMAND_STATE_UNSPECIFIED || !v1::CommandState_IsValid(from.state()))
        return fail(ErrorCode::InvalidArgument, "unknown command state " + std::to_string(from.state()), "outcome " + from.id());
    to.id = from.id();
    to.state = static_cast<CommandState>(from.state());
    to.step = from.step();
    to.text = from.text();
    return {};
}

void toWire(const TelemetryBatch& from, v1::TelemetryBatch& to) {
    toWire(from.key, *to.mutable_key());
    to.set_sequence(from.sequence);
    to.set_emitted_us(from.emittedUs);
    toWireAll(from.series, *to.mutable_series());
    toWireAll(from.events, *to.mutable_events());
    toWireAll(from.outcomes, *to.mutable_outcomes());
}

Result<void> fromWire(const v1::TelemetryBatch& from, TelemetryBatch& to) {
    fromWire(from.key(), to.key);
    to.sequence = from.sequence();
    to.emittedUs = from.emitted_us();
    return fromWireAll(from.series(), to.series)
        .and_then([&] { return fromWireAll(from.events(), to.events); })
        .and_then([&] { return fromWireAll(from.outcomes(), to.outcomes); });
}

} // namespace telehelm::ipc
