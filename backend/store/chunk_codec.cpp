// SPDX-License-Identifier: Apache-2.0
#include "store/chunk_codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>

#include <zstd.h>

#include "store/byte_stream.h"

namespace telehelm::store {
namespace {

using ipc::Bucket;
using ipc::Point;

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kVersionWithCounts = 2; // 'B': counts in a column of their own
constexpr std::uint8_t kLogVersion = 2;        // 'L': indices and a checksum
constexpr std::uint8_t kKindPoints = 'P', kKindBuckets = 'B', kKindLog = 'L';
constexpr int kCompression = 1; // noise does not shrink further at higher levels, and ingest wants the time
constexpr std::size_t kMaxItems = 1 << 14; // no BLOB of ours has more than a chunk's: a damaged one must not ask for much memory

struct CompressorFree {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

std::string compress(const std::string& plain) {
    thread_local const std::unique_ptr<ZSTD_CCtx, CompressorFree> context = [] {
        std::unique_ptr<ZSTD_CCtx, CompressorFree> made(ZSTD_createCCtx());
        ZSTD_CCtx_setParameter(made.get(), ZSTD_c_compressionLevel, kCompression);
        ZSTD_CCtx_setParameter(made.get(), ZSTD_c_checksumFlag, 1);
        return made;
    }();
    std::string packed(ZSTD_compressBound(plain.size()), '\0');
    const std::size_t size = ZSTD_compress2(context.get(), packed.data(), packed.size(), plain.data(), plain.size());
    if (ZSTD_isError(size))
        throw std::runtime_error(std::string("zstd: ") + ZSTD_getErrorName(size));
    packed.resize(size);
    return packed;
}

std::string decompress(std::string_view packed, std::size_t plainSize) {
    std::string plain(plainSize, '\0');
    const std::size_t size = ZSTD_decompress(plain.data(), plain.size(), packed.data(), packed.size());
    if (ZSTD_isError(size))
        throw DamagedBlob(ZSTD_getErrorName(size));
    if (size != plainSize)
        throw DamagedBlob("wrong length");
    return plain;
}

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }
double real(std::uint64_t value) { return std::bit_cast<double>(value); }
std::uint64_t bits(std::int64_t value) { return static_cast<std::uint64_t>(value); }

// A column of integers as second differences, zigzag, in byte planes: clocks and counters become almost nothing.
template <typename Item, typename Get>
void putIntegers(std::string& out, std::span<const Item> items, Get get, std::vector<std::uint64_t>& scratch) {
    std::uint64_t previous = 0, delta = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const std::uint64_t value = bits(std::int64_t{get(items[i])});
        const std::uint64_t step = value - previous;
        scratch[i] = zigzag(step - delta);
        previous = value;
        delta = i == 0 ? 0 : step; // the first value is no slope
    }
    putPlanes(out, scratch);
}

template <typename Item, typename Set>
void getIntegers(ByteReader& in, std::span<Item> items, Set set, std::vector<std::uint64_t>& scratch) {
    in.planes(scratch);
    std::uint64_t value = 0, delta = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const std::uint64_t step = unzigzag(scratch[i]) + delta;
        value += step;
        delta = i == 0 ? 0 : step;
        set(items[i], static_cast<std::int64_t>(value));
    }
}

template <typename Item, typename Get>
void putReals(std::string& out, std::span<const Item> items, Get get, std::vector<std::uint64_t>& scratch) {
    for (std::size_t i = 0; i < items.size(); ++i)
        scratch[i] = bits(double{get(items[i])});
    putPlanes(out, scratch);
}

template <typename Item, typename Set>
void getReals(ByteReader& in, std::span<Item> items, Set set, std::vector<std::uint64_t>& scratch) {
    in.planes(scratch);
    for (std::size_t i = 0; i < items.size(); ++i)
        set(items[i], real(scratch[i]));
}

std::string frame(std::uint8_t version, std::uint8_t kind, std::size_t items, const std::string& columns) {
    std::string out;
    out.push_back(static_cast<char>(version));
    out.push_back(static_cast<char>(kind));
    putVarint(out, items);
    out += compress(columns);
    return out;
}

struct FrameHead {
    std::uint8_t version = 0;
    std::size_t items = 0;
};

FrameHead openFrame(ByteReader& in, std::uint8_t kind, std::uint8_t newest) {
    FrameHead head;
    head.version = in.byte();
    if (head.version < kVersion || head.version > newest)
        throw DamagedBlob("unknown version " + std::to_string(head.version));
    if (in.byte() != kind)
        throw DamagedBlob("wrong kind");
    head.items = in.varint();
    if (head.items > kMaxItems)
        throw DamagedBlob("too many items");
    return head;
}

constexpr std::int64_t Bucket::*kBucketIntegers[] = {&Bucket::firstStep,  &Bucket::lastStep,    &Bucket::firstTokens,
                                                     &Bucket::lastTokens, &Bucket::firstWallUs, &Bucket::lastWallUs};
constexpr double Bucket::*kBucketReals[] = {&Bucket::first, &Bucket::last, &Bucket::min, &Bucket::max, &Bucket::sum};
constexpr std::int64_t Point::*kPointIntegers[] = {&Point::step, &Point::tokens, &Point::wallUs};

} // namespace

std::string encodePoints(std::span<const Point> points) {
    std::string columns;
    columns.reserve(points.size() * 32);
    std::vector<std::uint64_t> scratch(points.size());
    for (auto member : kPointIntegers)
        putIntegers(columns, points, [member](const Point& p) { return p.*member; }, scratch);
    putReals(columns, points, [](const Point& p) { return p.value; }, scratch);
    return frame(kVersion, kKindPoints, points.size(), columns);
}

std::vector<Point> decodePoints(std::string_view blob) {
    ByteReader head(blob);
    std::vector<Point> points(openFrame(head, kKindPoints, kVersion).items);
    const std::string columns = decompress(head.rest(), points.size() * 32);
    ByteReader in(columns);
    std::vector<std::uint64_t> scratch(points.size());
    for (auto member : kPointIntegers)
        getIntegers(in, std::span(points), [member](Point& p, std::int64_t v) { p.*member = v; }, scratch);
    getReals(in, std::span(points), [](Point& p, double v) { p.value = v; }, scratch);
    return points;
}

std::vector<double> decodeValues(std::string_view blob) {
    ByteReader head(blob);
    const std::size_t items = openFrame(head, kKindPoints, kVersion).items;
    const std::string columns = decompress(head.rest(), items * 32);
    ByteReader in(std::string_view(columns).substr(items * 24)); // behind the axes
    std::vector<double> values(items);
    std::vector<std::uint64_t> scratch(items);
    getReals(in, std::span(values), [](double& value, double v) { value = v; }, scratch);
    return values;
}

std::string encodeBuckets(std::span<const Bucket> buckets, int level) {
    std::string columns;
    std::vector<std::uint64_t> scratch(buckets.size());
    for (auto member : kBucketIntegers)
        putIntegers(columns, buckets, [member](const Bucket& b) { return b.*member; }, scratch);
    for (auto member : kBucketReals)
        putReals(columns, buckets, [member](const Bucket& b) { return b.*member; }, scratch);
    putIntegers(columns, buckets, [](const Bucket& b) { return static_cast<std::int64_t>(b.nonFinite); }, scratch);
    if (std::all_of(buckets.begin(), buckets.end(), [&](const Bucket& b) { return b.count == pointsPerBucket(level); }))
        return frame(kVersion, kKindBuckets, buckets.size(), columns);
    putIntegers(columns, buckets, [](const Bucket& b) { return static_cast<std::int64_t>(b.count); }, scratch);
    return frame(kVersionWithCounts, kKindBuckets, buckets.size(), columns);
}

void decodeBuckets(std::string_view blob, int level, std::span<Bucket> out) {
    ByteReader in(blob);
    const FrameHead head = openFrame(in, kKindBuckets, kVersionWithCounts);
    if (head.items != out.size())
        throw DamagedBlob("wrong length");
    const bool hasCounts = head.version == kVersionWithCounts;
    thread_local std::vector<std::uint64_t> scratch;
    scratch.resize(out.size());
    const std::string plain = decompress(in.rest(), out.size() * (hasCounts ? 13 : 12) * 8);
    ByteReader columns(plain);
    for (auto member : kBucketIntegers)
        getIntegers(columns, out, [member](Bucket& b, std::int64_t v) { b.*member = v; }, scratch);
    for (auto member : kBucketReals)
        getReals(columns, out, [member](Bucket& b, double v) { b.*member = v; }, scratch);
    getIntegers(columns, out, [](Bucket& b, std::int64_t v) { b.nonFinite = static_cast<std::uint64_t>(v); }, scratch);
    if (hasCounts)
        getIntegers(columns, out, [](Bucket& b, std::int64_t v) { b.count = static_cast<std::uint64_t>(v); }, scratch);
    else
        for (Bucket& bucket : out)
            bucket.count = pointsPerBucket(level);
}

std::vector<Bucket> decodeBuckets(std::string_view blob, int level) {
    ByteReader in(blob);
    std::vector<Bucket> buckets(openFrame(in, kKindBuckets, kVersionWithCounts).items);
    decodeBuckets(blob, level, buckets);
    return buckets;
}

LogWriter::LogWriter() : m_bytes{static_cast<char>(kLogVersion), static_cast<char>(kKindLog)}, m_size(m_bytes.size()) {}

const std::string& LogWriter::finish() {
    m_bytes.resize(m_size);
    putFixed64(m_bytes, checksum(m_bytes));
    return m_bytes;
}

void LogWriter::add(std::int64_t series, std::uint64_t at, std::span<const Point> points) {
    const std::size_t most = m_size + (3 + 3 * points.size()) * kMaxVarintBytes + points.size() * 8 + sizeof(std::uint64_t);
    if (m_bytes.size() < most)
        m_bytes.resize(std::max(most, 2 * m_bytes.size()));
    char* to = m_bytes.data() + m_size;
    to = putVarint(to, bits(series));
    to = putVarint(to, at);
    to = putVarint(to, points.size());
    for (const Point& point : points) {
        for (auto member : kPointIntegers)
            to = putVarint(to, zigzag(bits(point.*member) - bits(m_previous.*member)));
        to = putFixed64(to, bits(point.value));
        m_previous = point;
    }
    m_size = static_cast<std::size_t>(to - m_bytes.data());
}

std::vector<LoggedBlock> decodeLog(std::string_view blob) {
    ByteReader in(blob);
    const std::uint8_t version = in.byte();
    if (version < kVersion || version > kLogVersion || in.byte() != kKindLog)
        throw DamagedBlob("unknown version or wrong kind");
    if (version >= kLogVersion) {
        if (blob.size() < 10)
            throw DamagedBlob("cut off");
        const std::string_view covered = blob.substr(0, blob.size() - 8);
        if (ByteReader(blob.substr(covered.size())).fixed64() != checksum(covered))
            throw DamagedBlob("checksum wrong");
        in = ByteReader(covered);
        in.byte(), in.byte();
    }
    std::vector<LoggedBlock> blocks;
    Point previous;
    while (!in.atEnd()) {
        LoggedBlock block;
        block.series = static_cast<std::int64_t>(in.varint());
        if (version >= kLogVersion)
            block.at = in.varint();
        const std::uint64_t count = in.varint();
        if (count > in.left() / 11) // three varints and a double each, at least
            throw DamagedBlob("too many points");
        block.points.reserve(count);
        for (std::uint64_t i = 0; i < count; ++i) {
            Point point;
            for (auto member : kPointIntegers)
                point.*member = static_cast<std::int64_t>(bits(previous.*member) + unzigzag(in.varint()));
            point.value = real(in.fixed64());
            block.points.push_back(point);
            previous = point;
        }
        blocks.push_back(std::move(block));
    }
    return blocks;
}

Bucket bucketOf(const Point& point) {
    constexpr double kInf = std::numeric_limits<double>::infinity();
    const bool finite = std::isfinite(point.value);
    Bucket bucket;
    bucket.firstStep = bucket.lastStep = point.step;
    bucket.firstTokens = bucket.lastTokens = point.tokens;
    bucket.firstWallUs = bucket.lastWallUs = point.wallUs;
    bucket.first = bucket.last = point.value;
    bucket.min = finite ? point.value : kInf;
    bucket.max = finite ? point.value : -kInf;
    bucket.sum = finite ? point.value : 0;
    bucket.count = 1;
    bucket.nonFinite = finite ? 0 : 1;
    return bucket;
}

void absorb(Bucket& bucket, const Bucket& next) {
    if (next.count == 0)
        return;
    if (bucket.count == 0) {
        bucket = next;
        return;
    }
    bucket.lastStep = next.lastStep;
    bucket.lastTokens = next.lastTokens;
    bucket.lastWallUs = next.lastWallUs;
    bucket.last = next.last;
    bucket.min = std::min(bucket.min, next.min);
    bucket.max = std::max(bucket.max, next.max);
    bucket.sum += next.sum;
    bucket.count += next.count;
    bucket.nonFinite += next.nonFinite;
}

Bucket summarise(std::span<const Point> points) {
    Bucket bucket = bucketOf(points.front());
    for (const Point& point : points.subspan(1))
        absorb(bucket, bucketOf(point));
    return bucket;
}

Bucket summarise(std::span<const Bucket> buckets) {
    Bucket bucket = buckets.front();
    for (const Bucket& next : buckets.subspan(1))
        absorb(bucket, next);
    return bucket;
}

} // namespace telehelm::store
