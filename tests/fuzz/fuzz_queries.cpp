// SPDX-License-Identifier: Apache-2.0
// Queries against a store with a lineage of attempts, NaNs and steps that go back: any query is answered or refused, and an answer counts
// every point of its range once.
// Input: a byte, then a SeriesQuery message; or a glob.
#include <cmath>
#include <limits>
#include <random>

#include "convert/convert.h"
#include "fuzz_support.h"
#include "store/glob.h"
#include "store/store.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

std::vector<Point> curve(std::uint64_t seed, std::int64_t from, std::int64_t count) {
    std::mt19937_64 random(seed);
    std::vector<Point> points;
    for (std::int64_t i = 0; i < count; ++i) {
        const std::uint64_t dice = random();
        const std::int64_t step = from + i - (dice % 50 == 0 ? static_cast<std::int64_t>(dice % 30) : 0);
        const double value = dice % 19 == 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(dice >> 40);
        points.push_back({step, step * 100, 1'000'000 + i * 10, value});
    }
    return points;
}

std::unique_ptr<store::Store> made() {
    auto store = std::move(*store::Store::open(fuzz::workFolder("queries") / "store.db"));
    fuzz::require(store->addRun({"r", "", 1, ""}).has_value(), "a run can be added");
    const struct { std::uint32_t attempt, parent; std::int64_t fork, count; } attempts[] = {{1, 0, 0, 3000}, {2, 1, 2000, 1100}, {3, 1, 1000, 1500}, {4, 3, 2000, 1}};
    for (const auto& [attempt, parent, fork, count] : attempts) {
        AttemptInfo info;
        info.key = {"r", attempt};
        info.parent = parent;
        info.forkStep = fork;
        fuzz::require(store->addAttempt(info).has_value(), "an attempt can be added");
        TelemetryBatch batch;
        batch.key = info.key;
        batch.sequence = 1;
        for (const char* name : {"train/loss", "train/grad_norm", "layer/0/norm", "layer/1/norm", "one"})
            batch.series.push_back({name, curve(attempt, fork + 1, name[0] == 'o' ? 1 : count)});
        fuzz::require(store->ingest(std::span(&batch, 1)).has_value(), "a batch can be stored");
    }
    return store;
}

// What `*` and `?` mean, word by word; names here are ASCII.
bool means(std::string_view glob, std::string_view name) {
    if (glob.empty())
        return name.empty();
    if (glob[0] == '*')
        return means(glob.substr(1), name) || (!name.empty() && means(glob, name.substr(1)));
    return !name.empty() && (glob[0] == '?' || glob[0] == name[0]) && means(glob.substr(1), name.substr(1));
}

void tryGlob(store::Store& store, const std::string& glob) {
    if (glob.size() <= 12) // beyond, the plain words take too long
        for (const char* name : {"train/loss", "layer/0/norm", "one", ""})
            fuzz::require(store::matches(glob, name) == means(glob, name), "a glob means what its words say");
    SeriesListQuery query;
    query.glob = glob;
    for (const std::uint32_t attempt : {0u, 1u}) {
        query.key = {"r", attempt};
        query.limit = static_cast<std::uint32_t>(glob.size() % 3);
        if (const auto page = store.listSeries(query))
            fuzz::require(page->matching >= page->series.size(), "a page is a part of what matches");
    }
}

void check(const SeriesQuery& query, const SeriesSegment& segment) {
    for (const Bucket& bucket : segment.buckets) {
        fuzz::require(bucket.count >= 1 && bucket.nonFinite <= bucket.count, "a bucket has points");
        fuzz::require(bucket.nonFinite == bucket.count || bucket.min <= bucket.max, "a bucket's extremes are in order");
    }
    fuzz::require(!segment.buckets.empty() && segment.missing.empty(), "a segment has buckets, and nothing is missing in a sound store");
    fuzz::require(query.key.attempt == 0 || !query.also.empty() || segment.key.attempt == query.key.attempt, "only what was asked for");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static store::Store& store = *made().release();
    FuzzedDataProvider input(data, size);
    if (input.ConsumeIntegral<std::uint8_t>() % 4 == 0) {
        tryGlob(store, input.ConsumeRemainingBytesAsString());
        return 0;
    }
    v1::SeriesQuery wire;
    SeriesQuery query;
    if (!wire.ParseFromString(input.ConsumeRemainingBytesAsString()) || !fromWire(wire, query))
        return 0;
    query.key.run = "r"; // an unknown run ends too soon
    for (AttemptKey& key : query.also)
        key.run = "r";
    if (!(query.smoothing >= 0 && query.smoothing < 1)) // the daemon refuses it
        return 0;
    int most = 100;
    (void)store.querySeries(query, [&](SeriesSegment&& segment) {
        check(query, segment);
        return --most > 0;
    });
    return 0;
}
