// SPDX-License-Identifier: Apache-2.0
// A CUDA device's things as move-only values that host code can own without CUDA's headers. A call that fails throws
// std::runtime_error with the expression's text and CUDA's answer. Without CUDA (kernels/no_cuda) every one of them throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace telehelm::kernels::cuda {

namespace detail {
/// Gives a handle back to CUDA; what goes wrong there goes wrong again, and loudly, in the next call.
struct StreamEnd {
    void operator()(void* handle) const;
};
struct EventEnd {
    void operator()(void* handle) const;
};
struct GraphEnd {
    void operator()(void* handle) const;
};
struct DeviceEnd {
    void operator()(void* block) const;
};
struct PinnedEnd {
    void operator()(void* block) const;
};
} // namespace detail

/// The device that this thread's calls mean from here on.
void useDevice(int index);

struct MemoryInfo {
    std::uint64_t freeBytes = 0, totalBytes = 0;
};
[[nodiscard]] MemoryInfo memoryInfo();

/// Work in order, beside other streams.
class Stream {
public:
    Stream();
    void synchronize() const;
    /// cudaStream_t, for kernels/cuda and backend/comm/nccl.
    [[nodiscard]] void* native() const { return m_handle.get(); }

private:
    std::unique_ptr<void, detail::StreamEnd> m_handle;
};

/// A mark in a stream.
class Event {
public:
    Event();
    void record(const Stream& stream);
    /// `stream` goes on when the mark was reached.
    void holdUp(const Stream& stream) const;
    [[nodiscard]] bool isReached() const;
    void synchronize() const;
    /// Both must have been reached.
    [[nodiscard]] double msSince(const Event& earlier) const;
    [[nodiscard]] void* native() const { return m_handle.get(); } // cudaEvent_t

private:
    std::unique_ptr<void, detail::EventEnd> m_handle;
};

/// Device memory, aligned to 256 bytes; not initialised.
class DeviceBuffer {
public:
    DeviceBuffer() = default;
    explicit DeviceBuffer(std::size_t bytes);
    [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(m_block.get()); }
    template <typename T> [[nodiscard]] T* as() const { return static_cast<T*>(m_block.get()); }
    [[nodiscard]] std::size_t bytes() const { return m_bytes; }

private:
    std::unique_ptr<void, detail::DeviceEnd> m_block;
    std::size_t m_bytes = 0;
};

/// Page-locked host memory: what copies to and from it does not stop the host. Zeroed.
class PinnedBuffer {
public:
    PinnedBuffer() = default;
    explicit PinnedBuffer(std::size_t bytes);
    [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(m_block.get()); }
    template <typename T> [[nodiscard]] std::span<T> as() const { return {static_cast<T*>(m_block.get()), m_bytes / sizeof(T)}; }
    [[nodiscard]] std::size_t bytes() const { return m_bytes; }

private:
    std::unique_ptr<void, detail::PinnedEnd> m_block;
    std::size_t m_bytes = 0;
};

/// Work recorded once and launched again and again, with the same arguments and buffers.
class Graph {
public:
    Graph() = default;
    /// Everything that `work()` gives to the stream is recorded and not run. Nothing in it may synchronize or allocate.
    template <typename Work> [[nodiscard]] static Graph record(const Stream& stream, Work&& work) {
        Recording recording(stream);
        work();
        return recording.end();
    }
    void launch(const Stream& stream) const;
    [[nodiscard]] explicit operator bool() const { return m_handle != nullptr; }

private:
    /// Ends the stream's recording even when the work throws.
    class Recording {
    public:
        explicit Recording(const Stream& stream);
        ~Recording();
        Recording(const Recording&) = delete;
        Recording& operator=(const Recording&) = delete;
        Graph end();

    private:
        const Stream& m_stream;
        bool m_open = true;
    };
    std::unique_ptr<void, detail::GraphEnd> m_handle; // cudaGraphExec_t
};

// Stream-ordered. The host's side of a copy must stay as it is until the stream is synchronized.
void copyToDevice(void* device, const void* host, std::size_t bytes, const Stream& stream);
void copyToHost(void* host, const void* device, std::size_t bytes, const Stream& stream);
void copyOnDevice(void* to, const void* from, std::size_t bytes, const Stream& stream);
void fillBytes(void* device, int value, std::size_t bytes, const Stream& stream);

} // namespace telehelm::kernels::cuda
