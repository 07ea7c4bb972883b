// SPDX-License-Identifier: Apache-2.0
// Which NCCL calls are still on their way: so that a hang can be named by the call that hangs.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include <cuda_runtime_api.h>

namespace telehelm::comm {

/// Trainer thread only. Remembers the last kMost calls; allocates nothing after the first kMost.
class OpTrail {
public:
    OpTrail() = default;
    ~OpTrail();
    OpTrail(const OpTrail&) = delete;
    OpTrail& operator=(const OpTrail&) = delete;

    /// After the call was enqueued on `stream`. While a graph is captured there nothing is remembered: its replays have no calls.
    void add(const char* call, std::size_t count, const char* unit, cudaStream_t stream);
    /// "allReduce of 1048576 bf16", the oldest that has not finished; empty where all have, or were replayed in a graph.
    [[nodiscard]] std::string oldestUnfinished();

private:
    static constexpr std::size_t kMost = 256;
    struct Op {
        const char* call = nullptr;
        std::size_t count = 0;
        const char* unit = "";
        cudaEvent_t done = nullptr;
    };
    std::array<Op, kMost> m_ops{};
    std::size_t m_added = 0, m_finished = 0; // of all calls so far
};

} // namespace telehelm::comm
