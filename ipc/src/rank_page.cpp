// SPDX-License-Identifier: Apache-2.0
#include "telehelm/ipc/rank_page.h"

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <new>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace telehelm::ipc {
namespace {

/// A cache line, so that no rank's words slow another's down.
struct alignas(64) Line {
    std::atomic<std::int64_t> step;
    std::atomic<std::uint8_t> phase;
    std::atomic<std::uint8_t> isTalking;
};
static_assert(sizeof(Line) == 64 && std::atomic<std::int64_t>::is_always_lock_free);

Line& lineAt(std::byte* bytes, std::size_t index) {
    return *std::launder(reinterpret_cast<Line*>(bytes + index * sizeof(Line)));
}

} // namespace

const char* name(RankPhase phase) {
    constexpr std::array<const char*, 9> kNames = {"starting",  "data",   "forward",    "backward", "reduce",
                                                   "optimizer", "gather", "checkpoint", "between steps"};
    return kNames[static_cast<std::size_t>(phase)];
}

Result<RankPage> RankPage::open(const std::filesystem::path& file, int rank) {
    const auto line = static_cast<std::size_t>(rank);
    const std::size_t size = (line + 1) * sizeof(Line);
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return fail(ErrorCode::Unavailable, std::strerror(errno), file.string());
    // The space is taken now: a store into a hole ends the process when the disk is full.
    const int error = ::posix_fallocate(fd, static_cast<off_t>(line * sizeof(Line)), sizeof(Line));
    void* address = error == 0 ? ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    const int reason = error == 0 ? errno : error;
    ::close(fd);
    if (address == MAP_FAILED)
        return fail(ErrorCode::ResourceExhausted, std::string("cannot be mapped: ") + std::strerror(reason), file.string());
    RankPage page(static_cast<std::byte*>(address), size, line);
    page.at(0, RankPhase::Starting);
    page.talks(false);
    return page;
}

RankPage::RankPage(RankPage&& other) noexcept
    : m_bytes(std::exchange(other.m_bytes, nullptr)), m_size(other.m_size), m_line(other.m_line) {}

RankPage::~RankPage() {
    if (m_bytes != nullptr)
        ::munmap(m_bytes, m_size);
}

void RankPage::at(std::int64_t step, RankPhase phase) {
    Line& line = lineAt(m_bytes, m_line);
    line.step.store(step, std::memory_order_relaxed);
    line.phase.store(static_cast<std::uint8_t>(phase), std::memory_order_relaxed);
}

void RankPage::talks(bool isTalking) { lineAt(m_bytes, m_line).isTalking.store(isTalking ? 1 : 0, std::memory_order_relaxed); }

std::vector<RankPlace> readRankPlaces(const std::filesystem::path& file) {
    std::vector<RankPlace> places;
    std::ifstream in(file, std::ios::binary);
    struct alignas(64) Image {
        std::int64_t step;
        std::uint8_t phase, isTalking;
    };
    static_assert(sizeof(Image) == sizeof(Line) && offsetof(Image, phase) == 8 && offsetof(Image, isTalking) == 9);
    for (std::array<char, sizeof(Image)> bytes; in.read(bytes.data(), bytes.size());) {
        const auto image = std::bit_cast<Image>(bytes);
        const bool isKnown = image.phase <= static_cast<std::uint8_t>(RankPhase::Between);
        places.push_back({image.step, isKnown ? static_cast<RankPhase>(image.phase) : RankPhase::Starting, image.isTalking != 0});
    }
    return places;
}

} // namespace telehelm::ipc
