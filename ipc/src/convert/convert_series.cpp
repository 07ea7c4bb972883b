// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "convert/columns.h"
#include "convert/convert.h"

namespace telehelm::ipc {
namespace {

bool sameBits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

// The one NaN that a missing `smoothed` column stands for.
const double kPlainNan = std::numeric_limits<double>::quiet_NaN();

using Doubles = google::protobuf::RepeatedField<double>;
using Signed = google::protobuf::RepeatedField<std::int64_t>;

template <typename Field, typename Get>
void addColumn(const std::vector<Bucket>& buckets, Field& column, Get get) {
    column.Reserve(static_cast<int>(buckets.size()));
    for (const Bucket& bucket : buckets)
        column.Add(get(bucket));
}

// A double column is written only when it says something that `fallback` (the reader's guess) does not.
template <typename Get, typename Fallback>
void addUnless(const std::vector<Bucket>& buckets, Doubles& column, Get get, Fallback fallback) {
    for (const Bucket& bucket : buckets)
        if (!sameBits(get(bucket), fallback(bucket)))
            return addColumn(buckets, column, get);
}

void addSpans(const std::vector<Bucket>& buckets, Signed& column, std::int64_t Bucket::*first, std::int64_t Bucket::*last) {
    for (const Bucket& bucket : buckets)
        if (bucket.*first != bucket.*last)
            return addColumn(buckets, column, [&](const Bucket& b) { return wrappingSubtract(b.*last, b.*first); });
}

void addStarts(const std::vector<Bucket>& buckets, Signed& column, std::int64_t Bucket::*first) {
    DeltaCoder coder;
    addColumn(buckets, column, [&](const Bucket& b) { return coder.encode(b.*first); });
}

void toWire(const std::vector<Bucket>& from, v1::BucketColumns& to) {
    to.set_count_rows(static_cast<std::uint32_t>(from.size()));
    addStarts(from, *to.mutable_first_step_delta(), &Bucket::firstStep);
    addSpans(from, *to.mutable_step_span(), &Bucket::firstStep, &Bucket::lastStep);
    addStarts(from, *to.mutable_first_tokens_delta(), &Bucket::firstTokens);
    addSpans(from, *to.mutable_tokens_span(), &Bucket::firstTokens, &Bucket::lastTokens);
    addStarts(from, *to.mutable_first_wall_us_delta(), &Bucket::firstWallUs);
    addSpans(from, *to.mutable_wall_us_span(), &Bucket::firstWallUs, &Bucket::lastWallUs);
    const auto first = [](const Bucket& b) { return b.first; };
    addColumn(from, *to.mutable_first(), first);
    addUnless(from, *to.mutable_last(), [](const Bucket& b) { return b.last; }, first);
    addUnless(from, *to.mutable_min(), [](const Bucket& b) { return b.min; }, first);
    addUnless(from, *to.mutable_max(), [](const Bucket& b) { return b.max; }, first);
    addUnless(from, *to.mutable_sum(), [](const Bucket& b) { return b.sum; }, first);
    addUnless(from, *to.mutable_smoothed(), [](const Bucket& b) { return b.smoothed; }, [](const Bucket&) { return kPlainNan; });
    if (std::any_of(from.begin(), from.end(), [](const Bucket& b) { return b.count != 1; }))
        addColumn(from, *to.mutable_count(), [](const Bucket& b) { return b.count; });
    if (std::any_of(from.begin(), from.end(), [](const Bucket& b) { return b.nonFinite != 0; }))
        addColumn(from, *to.mutable_non_finite(), [](const Bucket& b) { return b.nonFinite; });
}

// Optional columns are either absent or whole.
bool whole(const v1::BucketColumns& from, int rows) {
    const auto fits = [rows](int size) { return size == 0 || size == rows; };
    return from.first_step_delta_size() == rows && from.first_tokens_delta_size() == rows &&
           from.first_wall_us_delta_size() == rows && from.first_size() == rows && fits(from.step_span_size()) &&
           fits(from.tokens_span_size()) && fits(from.wall_us_span_size()) && fits(from.last_size()) && fits(from.min_size()) &&
           fits(from.max_size()) && fits(from.sum_size()) && fits(from.count_size()) && fits(from.non_finite_size()) &&
           fits(from.smoothed_size());
}

template <typename Field, typename Fallback>
Fallback at(const Field& column, int row, Fallback fallback) {
    return column.empty() ? fallback : static_cast<Fallback>(column.Get(row));
}

Result<void> fromWire(const v1::BucketColumns& from, std::vector<Bucket>& to) {
    const int rows = from.first_size();
    if (from.count_rows() != static_cast<std::uint32_t>(rows) || !whole(from, rows))
        return fail(ErrorCode::DataLoss, "bucket columns differ in length (" + std::to_string(from.count_rows()) + " rows announced)");
    to.resize(static_cast<std::size_t>(rows));
    DeltaCoder step, tokens, wall;
    for (int i = 0; i < rows; ++i) {
        Bucket& b = to[static_cast<std::size_t>(i)];
        b.firstStep = step.decode(from.first_step_delta(i));
        b.lastStep = wrappingAdd(b.firstStep, at(from.step_span(), i, std::int64_t{0}));
        b.firstTokens = tokens.decode(from.first_tokens_delta(i));
        b.lastTokens = wrappingAdd(b.firstTokens, at(from.tokens_span(), i, std::int64_t{0}));
        b.firstWallUs = wall.decode(from.first_wall_us_delta(i));
        b.lastWallUs = wrappingAdd(b.firstWallUs, at(from.wall_us_span(), i, std::int64_t{0}));
        b.first = from.first(i);
        b.last = at(from.last(), i, b.first);
        b.min = at(from.min(), i, b.first);
        b.max = at(from.max(), i, b.first);
        b.sum = at(from.sum(), i, b.first);
        b.count = at(from.count(), i, std::uint64_t{1});
        b.nonFinite = at(from.non_finite(), i, std::uint64_t{0});
        b.smoothed = at(from.smoothed(), i, kPlainNan);
    }
    return {};
}

} // namespace

void toWire(const SeriesQuery& from, v1::SeriesQuery& to) {
    toWire(from.key, *to.mutable_key());
    for (const std::string& name : from.names)
        to.add_names(mendUtf8(name));
    to.set_axis(static_cast<v1::Axis>(from.axis));
    to.set_from(from.from);
    to.set_to(from.to);
    to.set_max_buckets(from.maxBuckets);
    to.set_smoothing(from.smoothing);
    to.set_include_superseded(from.includeSuperseded);
    for (const AttemptKey& key : from.also)
        toWire(key, *to.add_also());
    to.set_first_buckets(from.firstBuckets);
}

Result<void> fromWire(const v1::SeriesQuery& from, SeriesQuery& to) {
    if (!v1::Axis_IsValid(from.axis()))
        return fail(ErrorCode::InvalidArgument, "unknown axis " + std::to_string(from.axis()) + "; known: step, tokens, wall time",
                    "series query");
    fromWire(from.key(), to.key);
    to.names.assign(from.names().begin(), from.names().end());
    to.axis = from.axis() == v1::AXIS_UNSPECIFIED ? Axis::Step : static_cast<Axis>(from.axis());
    to.from = from.from();
    to.to = from.to();
    to.maxBuckets = from.max_buckets();
    to.smoothing = from.smoothing();
    to.includeSuperseded = from.include_superseded();
    to.also.clear();
    for (const v1::AttemptKey& key : from.also())
        fromWire(key, to.also.emplace_back());
    to.firstBuckets = from.first_buckets();
    return {};
}

void toWire(const SeriesSegment& from, v1::SeriesSegment& to) {
    toWire(from.key, *to.mutable_key());
    to.set_name(mendUtf8(from.name));
    to.set_superseded(from.superseded);
    to.set_level(from.level);
    toWire(from.buckets, *to.mutable_buckets());
    to.set_ema_last(from.ema.last);
    to.set_ema_n(from.ema.n);
    to.set_pass(from.pass);
    to.set_early(!from.isLastPass);
    for (const MissingPoints& missing : from.missing) {
        v1::MissingPoints& wire = *to.add_missing();
        wire.set_points(missing.points);
        wire.set_first_step(missing.firstStep);
        wire.set_last_step(missing.lastStep);
        wire.set_what(mendUtf8(missing.what));
    }
}

Result<void> fromWire(const v1::SeriesSegment& from, SeriesSegment& to) {
    fromWire(from.key(), to.key);
    to.name = from.name();
    to.superseded = from.superseded();
    to.level = from.level();
    to.ema = EmaState{from.ema_last(), from.ema_n()};
    to.pass = from.pass();
    to.isLastPass = !from.early();
    to.missing.clear();
    for (const v1::MissingPoints& wire : from.missing())
        to.missing.push_back({wire.points(), wire.first_step(), wire.last_step(), wire.what()});
    return fromWire(from.buckets(), to.buckets).map_error([&](Error error) {
        error.context = "series " + from.name();
        return error;
    });
}

void toWire(const SeriesListQuery& from, v1::ListSeriesRequest& to) {
    toWire(from.key, *to.mutable_key());
    to.set_glob(mendUtf8(from.glob));
    to.set_after(mendUtf8(from.after));
    to.set_limit(from.limit);
}

void fromWire(const v1::ListSeriesRequest& from, SeriesListQuery& to) {
    fromWire(from.key(), to.key);
    to.glob = from.glob();
    to.after = from.after();
    to.limit = from.limit();
}

void toWire(const SeriesPage& from, v1::ListSeriesReply& to) {
    for (const SeriesInfo& info : from.series)
        toWire(info, *to.add_series());
    to.set_matching(from.matching);
    to.set_next(mendUtf8(from.next));
}

Result<void> fromWire(const v1::ListSeriesReply& from, SeriesPage& to) {
    to.series.clear();
    to.series.reserve(static_cast<std::size_t>(from.series_size()));
    for (const v1::SeriesInfo& wire : from.series())
        if (auto ok = fromWire(wire, to.series.emplace_back()); !ok)
            return ok;
    to.matching = from.matching();
    to.next = from.next();
    return {};
}

void toWire(const LineageInfo& from, v1::LineageInfo& to) {
    to.set_run(mendUtf8(from.run));
    for (const LineageBranch& branch : from.branches) {
        v1::LineageBranch& wire = *to.add_branches();
        toWire(branch.key, *wire.mutable_key());
        wire.set_parent(branch.parent);
        wire.set_fork_step(branch.forkStep);
        wire.set_is_effective(branch.isEffective);
        wire.set_effective_to(branch.effectiveTo);
        wire.set_cut_by(branch.cutBy);
        wire.set_abandoned_from(branch.abandonedFrom);
        wire.set_abandoned_to(branch.abandonedTo);
        wire.set_lost_steps(branch.lostSteps);
        wire.set_lost_tokens(branch.lostTokens);
        wire.set_lost_wall_us(branch.lostWallUs);
    }
    to.set_lost_steps(from.lostSteps);
    to.set_lost_tokens(from.lostTokens);
    to.set_lost_wall_us(from.lostWallUs);
}

Result<void> fromWire(const v1::LineageInfo& from, LineageInfo& to) {
    to = {};
    to.run = from.run();
    for (const v1::LineageBranch& wire : from.branches()) {
        LineageBranch& branch = to.branches.emplace_back();
        fromWire(wire.key(), branch.key);
        branch.parent = wire.parent();
        branch.forkStep = wire.fork_step();
        branch.isEffective = wire.is_effective();
        branch.effectiveTo = wire.effective_to();
        branch.cutBy = wire.cut_by();
        branch.abandonedFrom = wire.abandoned_from();
        branch.abandonedTo = wire.abandoned_to();
        branch.lostSteps = wire.lost_steps();
        branch.lostTokens = wire.lost_tokens();
        branch.lostWallUs = wire.lost_wall_us();
    }
    to.lostSteps = from.lost_steps();
    to.lostTokens = from.lost_tokens();
    to.lostWallUs = from.lost_wall_us();
    return {};
}

} // namespace telehelm::ipc
