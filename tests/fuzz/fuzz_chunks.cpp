// SPDX-License-Identifier: Apache-2.0
// BLOBs of the store: whatever the bytes, decoding gives values or DamagedBlob, in memory that fits the format; what was encoded comes back.
// Input: a byte for the way in, one for the level, then bytes.
#include <cstring>

#include <zstd.h>

#include "fuzz_support.h"
#include "store/byte_stream.h"
#include "store/chunk_codec.h"

using namespace telehelm;
using namespace telehelm::store;

namespace {

template <typename Decode>
void decodes(Decode decode) {
    try {
        (void)decode();
    } catch (const DamagedBlob&) {
        // The one answer to a BLOB that cannot be read.
    }
}

void tryAll(std::string_view blob, int level) {
    decodes([&] { return decodePoints(blob); });
    decodes([&] { return decodeBuckets(blob, level); });
    decodes([&] { return decodeLog(blob); });
}

// The checksums would keep a fuzzer out for ever: so columns and logs are packed here.
std::string packed(char version, char kind, std::uint64_t items, std::string_view columns) {
    std::string blob{version, kind};
    if (kind == 'L') {
        blob += columns;
        putFixed64(blob, checksum(blob));
        return blob;
    }
    putVarint(blob, items);
    std::string frame(ZSTD_compressBound(columns.size()), '\0');
    frame.resize(ZSTD_compress(frame.data(), frame.size(), columns.data(), columns.size(), 1));
    return blob + frame;
}

std::vector<ipc::Point> pointsFrom(std::string_view bytes) {
    std::vector<ipc::Point> points(std::min<std::size_t>(bytes.size() / 32, kPointsPerChunk));
    for (std::size_t i = 0; i < points.size(); ++i) {
        std::memcpy(&points[i].step, bytes.data() + 32 * i, 8);
        std::memcpy(&points[i].tokens, bytes.data() + 32 * i + 8, 8);
        std::memcpy(&points[i].wallUs, bytes.data() + 32 * i + 16, 8);
        std::memcpy(&points[i].value, bytes.data() + 32 * i + 24, 8);
    }
    return points;
}

bool isSame(const ipc::Point& a, const ipc::Point& b) {
    return a.step == b.step && a.tokens == b.tokens && a.wallUs == b.wallUs && std::memcmp(&a.value, &b.value, 8) == 0;
}

void roundTrip(std::string_view bytes) {
    const std::vector<ipc::Point> points = pointsFrom(bytes);
    if (points.empty())
        return;
    const auto back = decodePoints(encodePoints(points));
    fuzz::require(std::equal(points.begin(), points.end(), back.begin(), back.end(), isSame), "points come back bit by bit");
    LogWriter log;
    const std::size_t half = points.size() / 2;
    log.add(-1, 7, std::span(points).first(half));
    log.add(1 << 20, ~std::uint64_t{0}, std::span(points).subspan(half));
    const auto blocks = decodeLog(log.finish());
    fuzz::require(blocks.size() == 2 && blocks[0].series == -1 && blocks[0].at == 7 && blocks[1].at == ~std::uint64_t{0} && blocks[1].series == 1 << 20 &&
                      std::equal(points.begin(), points.begin() + static_cast<std::ptrdiff_t>(half), blocks[0].points.begin(),
                                 blocks[0].points.end(), isSame) &&
                      std::equal(points.begin() + static_cast<std::ptrdiff_t>(half), points.end(), blocks[1].points.begin(),
                                 blocks[1].points.end(), isSame),
                  "the log comes back bit by bit");
    fuzz::require(summarise(std::span(points)).count == points.size(), "a summary counts every point");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    FuzzedDataProvider input(data, size);
    const auto way = input.ConsumeIntegral<std::uint8_t>();
    const int level = input.ConsumeIntegralInRange(0, kMaxLevel);
    if (way % 4 == 0) {
        const std::string rest = input.ConsumeRemainingBytesAsString();
        tryAll(rest, level);
    } else if (way % 4 == 1) {
        roundTrip(input.ConsumeRemainingBytesAsString());
    } else {
        const char version = input.PickValueInArray({'\1', '\2', '\3'});
        const char kind = input.PickValueInArray({'P', 'B', 'L', 'X'});
        const std::uint64_t items = input.ConsumeBool() ? input.remaining_bytes() / 32 : input.ConsumeIntegral<std::uint64_t>();
        tryAll(packed(version, kind, items, input.ConsumeRemainingBytesAsString()), level);
    }
    return 0;
}
