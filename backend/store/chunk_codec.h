// SPDX-License-Identifier: Apache-2.0
// Points and buckets as BLOBs. Byte format: README.md in this folder.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::store {

inline constexpr std::uint64_t kFan = 16;            // level k summarises 16^k points
inline constexpr std::uint64_t kPointsPerChunk = 1024; // level 0
inline constexpr std::uint64_t kBucketsPerChunk = 64;  // levels ≥ 1
inline constexpr int kMaxLevel = 12;

[[nodiscard]] constexpr std::uint64_t pointsPerBucket(int level) { return std::uint64_t{1} << (4 * level); }
[[nodiscard]] constexpr std::uint64_t itemsPerChunk(int level) { return level == 0 ? kPointsPerChunk : kBucketsPerChunk; }

[[nodiscard]] std::string encodePoints(std::span<const ipc::Point> points);
[[nodiscard]] std::vector<ipc::Point> decodePoints(std::string_view blob); // throws DamagedBlob
[[nodiscard]] std::vector<double> decodeValues(std::string_view blob);     // of the same BLOB, without the axes; throws DamagedBlob

/// Full buckets of a level: count = 16^level, or less where points were lost (0: all of them); `smoothed` is not stored.
[[nodiscard]] std::string encodeBuckets(std::span<const ipc::Bucket> buckets, int level);
[[nodiscard]] std::vector<ipc::Bucket> decodeBuckets(std::string_view blob, int level); // throws DamagedBlob
/// Into `out`, whose length must be right.
void decodeBuckets(std::string_view blob, int level, std::span<ipc::Bucket> out); // throws DamagedBlob

/// Points of several series as they came in one batch: quick to write, not compressed, with a checksum.
struct LoggedBlock {
    std::int64_t series = 0;
    std::uint64_t at = 0; // index of its first point in the series; version 1 of the format does not tell it
    std::vector<ipc::Point> points;
};
class LogWriter {
public:
    LogWriter();
    void add(std::int64_t series, std::uint64_t at, std::span<const ipc::Point> points);
    [[nodiscard]] const std::string& finish(); // with the checksum; nothing may be added any more

private:
    std::string m_bytes;      // with room behind its end
    std::size_t m_size = 0;   // where that is
    ipc::Point m_previous;
};
[[nodiscard]] std::vector<LoggedBlock> decodeLog(std::string_view blob); // throws DamagedBlob

/// One point as a bucket, and a bucket that takes up the one that follows it.
[[nodiscard]] ipc::Bucket bucketOf(const ipc::Point& point);
/// A bucket with count 0 stands for points that are lost: it adds nothing.
void absorb(ipc::Bucket& bucket, const ipc::Bucket& next);
[[nodiscard]] ipc::Bucket summarise(std::span<const ipc::Point> points);   // not empty
[[nodiscard]] ipc::Bucket summarise(std::span<const ipc::Bucket> buckets); // not empty

} // namespace telehelm::store
