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
}

Result<void> fromWire(const v1::SeriesSegment& from, SeriesSegment& to) {
    fromWire(from.key(), to.key);
    to.name = from.name();
    to.superseded = from.superseded();
    to.level = from.level();
    to.ema = EmaState{from.ema_last(), from.ema_n()};
    return fromWire(from.buckets(), to.buckets).map_error([&](Error error) {
        error.context = "series " + from.name();
        return error;
    });
}

} // namespace telehelm::ipc
