// SPDX-License-Identifier: Apache-2.0
#include "zmq/spool.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "zmq/spool_format.h"

namespace telehelm::ipc {

using namespace spool;

namespace {

bool writeAll(int fd, std::string_view bytes, std::int64_t offset) {
    while (!bytes.empty()) {
        const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
        offset += n;
    }
    return true;
}

} // namespace

std::uint32_t crc32(std::string_view bytes) {
    return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

Spool::~Spool() {
    if (m_fd >= 0)
        close(m_fd);
}

Error Spool::problem(const std::string& what) const {
    return {ErrorCode::Unavailable, what + ": " + std::strerror(errno), m_file.string()};
}

bool Spool::empty() const { return m_end <= kHeadBytes; }

Result<void> Spool::open(const std::filesystem::path& file, const AttemptKey& key) {
    m_file = file;
    m_keyCheck = crc32(key.run + "/" + std::to_string(key.attempt));
    std::error_code error;
    if (file.has_parent_path())
        std::filesystem::create_directories(file.parent_path(), error);
    for (int round = 0; round < 2; ++round) {
        m_fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (m_fd < 0)
            return tl::unexpected(problem("the spool cannot be written"));
        struct stat info {};
        if (fstat(m_fd, &info) != 0)
            return tl::unexpected(problem("the spool cannot be looked at"));
        if (info.st_size == 0)
            return writeHead();
        if (readHead())
            return scan(info.st_size);
        close(m_fd);
        std::filesystem::rename(file, file.string() + ".aside-" + std::to_string(nowUs()), error);
    }
    return fail(ErrorCode::DataLoss, "the spool is damaged and cannot be put aside", file.string());
}

bool Spool::readHead() {
    std::string head;
    if (!readAll(m_fd, head, kHeadBytes, 0) || head.compare(0, kMagic.size(), kMagic) != 0)
        return false;
    m_acked = get<std::uint64_t>(head, 8);
    return get<std::uint32_t>(head, 16) == m_keyCheck && get<std::uint32_t>(head, 20) == crc32(std::string_view(head).substr(0, 20));
}

Result<void> Spool::writeHead() {
    std::string head(kMagic);
    put(head, m_acked);
    put(head, m_keyCheck);
    put(head, crc32(head));
    if (!writeAll(m_fd, head, 0))
        return tl::unexpected(problem("the spool cannot be written"));
    m_end = std::max(m_end, kHeadBytes);
    return {};
}

Result<void> Spool::scan(std::int64_t fileBytes) {
    m_end = kHeadBytes;
    std::string head, rest;
    while (m_end + kRecordHeadBytes <= fileBytes && readAll(m_fd, head, kRecordHeadBytes, m_end)) {
        const auto bytes = get<std::uint32_t>(head, 0);
        if (bytes > kLargestPayload || m_end + kRecordHeadBytes + bytes > fileBytes)
            break;
        if (!readAll(m_fd, rest, kRecordHeadBytes - 8 + bytes, m_end + 8) || crc32(rest) != get<std::uint32_t>(head, 4))
            break;
        m_found.push_back({get<std::uint64_t>(head, 8), get<std::uint32_t>(head, 16), m_end, bytes});
        m_end += kRecordHeadBytes + bytes;
    }
    if (m_end < fileBytes && ftruncate(m_fd, m_end) != 0)
        return tl::unexpected(problem("the spool's damaged tail cannot be cut off"));
    // A batch that got a new number lies behind its old self; the reader wants them by number.
    std::stable_sort(m_found.begin(), m_found.end(), [](const auto& a, const auto& b) { return a.sequence < b.sequence; });
    return {};
}

Result<SpoolRecord> Spool::append(std::uint64_t sequence, std::uint32_t points, std::string_view payload) {
    if (payload.size() > kLargestPayload)
        return fail(ErrorCode::ResourceExhausted, "a batch of " + std::to_string(payload.size()) + " bytes is too large", m_file.string());
    std::string rest;
    rest.reserve(static_cast<std::size_t>(kRecordHeadBytes) + payload.size());
    put(rest, sequence);
    put(rest, points);
    rest += payload;
    std::string record;
    record.reserve(rest.size() + 8);
    put(record, static_cast<std::uint32_t>(payload.size()));
    put(record, crc32(rest));
    record += rest;
    if (!writeAll(m_fd, record, m_end)) {
        const Error error = problem("the spool cannot be written");
        if (ftruncate(m_fd, m_end) != 0)
            return tl::unexpected(problem("the spool cannot be written nor shortened"));
        return tl::unexpected(error);
    }
    const SpoolRecord written{sequence, points, m_end, static_cast<std::uint32_t>(payload.size())};
    m_end += static_cast<std::int64_t>(record.size());
    return written;
}

Result<std::string> Spool::read(const SpoolRecord& record) const {
    std::string bytes;
    if (!readAll(m_fd, bytes, static_cast<std::size_t>(kRecordHeadBytes) + record.bytes, record.offset))
        return tl::unexpected(problem("the spool cannot be read"));
    if (crc32(std::string_view(bytes).substr(8)) != get<std::uint32_t>(bytes, 4))
        return fail(ErrorCode::DataLoss, "batch " + std::to_string(record.sequence) + " is damaged in the spool", m_file.string());
    return bytes.substr(kRecordHeadBytes);
}

Result<void> Spool::clear(std::uint64_t acked) {
    m_acked = acked;
    if (ftruncate(m_fd, kHeadBytes) != 0)
        return tl::unexpected(problem("the spool cannot be shortened"));
    m_end = kHeadBytes;
    return writeHead();
}

Result<void> Spool::sync() {
    if (fdatasync(m_fd) != 0)
        return tl::unexpected(problem("the spool cannot be synced"));
    return {};
}

} // namespace telehelm::ipc
