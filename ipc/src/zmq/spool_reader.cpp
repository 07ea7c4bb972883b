// SPDX-License-Identifier: Apache-2.0
#include "telehelm/ipc/spool_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include "convert/convert.h"
#include "zmq/spool.h"
#include "zmq/spool_format.h"

namespace telehelm::ipc {

using namespace spool;

namespace {

constexpr std::int64_t kTellEvery = 16 << 20;          // bytes
constexpr std::int64_t kWindow = 1 << 20;              // in which the next record is looked for
constexpr std::uint32_t kLargestLikely = 64u << 20;    // of a payload, where a record is only guessed
constexpr std::uint64_t kFarthestLikely = 1ull << 24;  // batches that a damaged stretch can have held

Error notReadable(const std::filesystem::path& file, int problem) {
    if (problem == ENOENT)
        return {ErrorCode::NotFound, "there is no such spool; give the folder that telehelm-rank had as --run-dir, or the one around it", file.string()};
    return {ErrorCode::FailedPrecondition,
            std::string("cannot be read: ") + std::strerror(problem) + (problem == EACCES ? "; let the user that telehelmd runs as read it" : ""),
            file.string()};
}

std::string atByte(std::int64_t offset) { return "at byte " + std::to_string(offset); }

} // namespace

SpoolReader::SpoolReader(SpoolReader&& other) noexcept
    : m_file(std::move(other.m_file)), m_fd(std::exchange(other.m_fd, -1)), m_bytes(other.m_bytes), m_acked(other.m_acked),
      m_batches(std::move(other.m_batches)), m_damage(std::move(other.m_damage)) {}

SpoolReader& SpoolReader::operator=(SpoolReader&& other) noexcept {
    std::swap(m_file, other.m_file);
    std::swap(m_fd, other.m_fd);
    std::swap(m_bytes, other.m_bytes);
    std::swap(m_acked, other.m_acked);
    std::swap(m_batches, other.m_batches);
    std::swap(m_damage, other.m_damage);
    return *this;
}

SpoolReader::~SpoolReader() {
    if (m_fd >= 0)
        close(m_fd);
}

Result<SpoolReader> SpoolReader::open(const std::filesystem::path& file, const std::function<bool(std::uint64_t)>& goesOn) {
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe of this name shall not hold us up
    if (fd < 0)
        return tl::unexpected(notReadable(file, errno));
    struct stat info {};
    const bool isFile = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    SpoolReader reader(file, fd, isFile ? static_cast<std::int64_t>(info.st_size) : 0);
    if (!isFile)
        return fail(ErrorCode::FailedPrecondition, "is no file, so it is no spool", file.string());
    auto read = reader.readHead().and_then([&] { return reader.scan(goesOn); });
    if (!read)
        return tl::unexpected(read.error());
    reader.sortBatches();
    return reader;
}

// A damaged head costs nothing but the number up to which a daemon had acknowledged.
Result<void> SpoolReader::readHead() {
    std::string head;
    if (!readAll(m_fd, head, static_cast<std::size_t>(std::min(m_bytes, kHeadBytes)), 0))
        return tl::unexpected(notReadable(m_file, errno));
    const bool isWhole = head.size() == static_cast<std::size_t>(kHeadBytes);
    const std::string_view name = kMagic.substr(0, kMagic.size() - 1);
    if (isWhole && head.starts_with(name) && head[name.size()] > kMagic.back() && head[name.size()] <= '9')
        return fail(ErrorCode::FailedPrecondition,
                    "is a spool of format " + std::string(1, head[name.size()]) + ", written by a newer Telehelm; this one reads format " +
                        std::string(1, kMagic.back()) + ". Use the telehelmd of that release",
                    m_file.string());
    if (isWhole && head.starts_with(kMagic) && get<std::uint32_t>(head, 20) == crc32(std::string_view(head).substr(0, 20))) {
        m_acked = get<std::uint64_t>(head, 8);
        return {};
    }
    std::string buffer;
    if (nextRecord(isWhole ? kHeadBytes : m_bytes, buffer) >= m_bytes)
        return fail(ErrorCode::DataLoss, "is no spool, or nothing of it is whole; give the folder that telehelm-rank had as --run-dir", m_file.string());
    m_damage.emplace_back("Its head is damaged.");
    return {};
}

Result<void> SpoolReader::scan(const std::function<bool(std::uint64_t)>& goesOn) {
    std::string buffer;
    std::int64_t told = 0;
    for (std::int64_t at = kHeadBytes; at < m_bytes;) {
        if (at - told >= kTellEvery) {
            told = at;
            if (!goesOn(static_cast<std::uint64_t>(at)))
                return fail(ErrorCode::Cancelled, "the import was called off", m_file.string());
        }
        if (takeRecord(at, buffer)) {
            at += kRecordHeadBytes + m_batches.back().bytes;
            continue;
        }
        const std::int64_t next = nextRecord(at + 1, buffer);
        const std::string behind = m_batches.empty() ? "before its first whole batch" : "behind batch " + std::to_string(m_batches.back().sequence);
        m_damage.push_back(next < m_bytes ? "It is damaged " + atByte(at) + ", " + behind + "; it is whole again " + atByte(next) + "."
                                          : "It breaks off " + atByte(at) + ", " + behind + ": the last " + std::to_string(m_bytes - at) +
                                                " bytes hold no whole batch (it was cut off, damaged, or copied while it was written).");
        at = next;
    }
    return {};
}

bool SpoolReader::takeRecord(std::int64_t offset, std::string& buffer) {
    if (offset + kRecordHeadBytes > m_bytes || !readAll(m_fd, buffer, kRecordHeadBytes, offset))
        return false;
    const auto bytes = get<std::uint32_t>(buffer, 0), check = get<std::uint32_t>(buffer, 4);
    const SpooledBatch batch{get<std::uint64_t>(buffer, 8), get<std::uint32_t>(buffer, 16), bytes, offset};
    if (bytes > kLargestPayload || offset + kRecordHeadBytes + bytes > m_bytes ||
        !readAll(m_fd, buffer, kRecordHeadBytes - 8 + bytes, offset + 8) || crc32(buffer) != check)
        return false;
    m_batches.push_back(batch);
    return true;
}

// The checksum decides; the number and the length only spare most bytes the look at it.
std::int64_t SpoolReader::nextRecord(std::int64_t from, std::string& buffer) const {
    const std::uint64_t last = m_batches.empty() ? 0 : m_batches.back().sequence;
    std::string window;
    for (std::int64_t at = from; at + kRecordHeadBytes <= m_bytes; at += kWindow) {
        if (!readAll(m_fd, window, static_cast<std::size_t>(std::min(kWindow + kRecordHeadBytes, m_bytes - at)), at))
            return m_bytes;
        for (std::size_t i = 0; i + kRecordHeadBytes <= window.size() && i < static_cast<std::size_t>(kWindow); ++i) {
            const auto bytes = get<std::uint32_t>(window, i);
            const auto sequence = get<std::uint64_t>(window, i + 8);
            const std::int64_t offset = at + static_cast<std::int64_t>(i);
            if (sequence <= last || sequence - last > kFarthestLikely || bytes > kLargestLikely || offset + kRecordHeadBytes + bytes > m_bytes)
                continue;
            if (readAll(m_fd, buffer, kRecordHeadBytes - 8 + bytes, offset + 8) && crc32(buffer) == get<std::uint32_t>(window, i + 4))
                return offset;
        }
    }
    return m_bytes;
}

// Of two records with one number the later stands.
void SpoolReader::sortBatches() {
    std::ranges::stable_sort(m_batches, {}, &SpooledBatch::sequence);
    std::vector<SpooledBatch> once;
    once.reserve(m_batches.size());
    for (const SpooledBatch& batch : m_batches) {
        if (!once.empty() && once.back().sequence == batch.sequence)
            once.pop_back();
        once.push_back(batch);
    }
    m_batches = std::move(once);
}

Result<TelemetryBatch> SpoolReader::read(const SpooledBatch& batch) const {
    std::string record;
    if (!readAll(m_fd, record, static_cast<std::size_t>(kRecordHeadBytes) + batch.bytes, batch.offset) ||
        crc32(std::string_view(record).substr(8)) != get<std::uint32_t>(record, 4))
        return fail(ErrorCode::Unavailable, "changed while it was read; import it when nobody writes to it", m_file.string());
    v1::TelemetryBatch wire;
    TelemetryBatch value;
    if (!wire.ParseFromArray(record.data() + kRecordHeadBytes, static_cast<int>(batch.bytes)) || !fromWire(wire, value))
        return fail(ErrorCode::DataLoss, "Batch " + std::to_string(batch.sequence) + " " + atByte(batch.offset) + " cannot be understood.", m_file.string());
    value.sequence = batch.sequence; // a renumbered one may lie under its old number
    return value;
}

} // namespace telehelm::ipc
