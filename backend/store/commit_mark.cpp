// SPDX-License-Identifier: Apache-2.0
#include "store/commit_mark.h"

#include <fstream>
#include <iterator>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "store/byte_stream.h"

namespace telehelm::store {
namespace {

constexpr std::string_view kMagic = "THMARK01";

std::filesystem::path markOf(const std::filesystem::path& database) { return database.string() + "-mark"; }

} // namespace

CommitMark::CommitMark(const std::filesystem::path& database) : m_file(markOf(database)) {}

CommitMark::~CommitMark() {
    if (m_fd >= 0)
        close(m_fd);
}

std::optional<std::uint64_t> CommitMark::read(const std::filesystem::path& database) {
    std::ifstream in(markOf(database), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    if (bytes.size() != 24 || !bytes.starts_with(kMagic))
        return std::nullopt;
    ByteReader tail(std::string_view(bytes).substr(8));
    const std::uint64_t commits = tail.fixed64();
    return tail.fixed64() == checksum(std::string_view(bytes).substr(0, 16)) ? std::optional(commits) : std::nullopt;
}

void CommitMark::write(std::uint64_t commits) {
    if (m_fd < 0)
        m_fd = open(m_file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    std::string bytes(kMagic);
    putFixed64(bytes, commits);
    putFixed64(bytes, checksum(bytes));
    // One write of 24 bytes at the beginning of a file: no crash of this process leaves half of it. It is not synced: after a
    // power failure it may be older than the database, which means nothing, but never newer.
    if (m_fd >= 0 && pwrite(m_fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()) && ftruncate(m_fd, 0) != 0) {
        close(m_fd);
        m_fd = -1;
    }
}

} // namespace telehelm::store
