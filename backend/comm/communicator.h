// SPDX-License-Identifier: Apache-2.0
// The communicator that every parallel axis uses: Open MPI on CPUs, NCCL on GPUs, MPI-staged for several ranks on one GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace telehelm::comm {

enum class Reduce : std::uint8_t { Sum, Max, Min };

/// Collective calls: every rank of the communicator calls them in the same order. Trainer thread only. A call that fails
/// throws std::runtime_error with the call's text; the rank's run loop catches it.
class Communicator {
public:
    virtual ~Communicator() = default;
    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;
    /// Ranks with the same colour make a new communicator, ordered by key.
    [[nodiscard]] virtual std::unique_ptr<Communicator> split(int colour, int key) const = 0;

    virtual void allReduce(std::span<float> data, Reduce op) = 0;
    virtual void allReduce(std::span<double> data, Reduce op) = 0;
    /// `in` = size() equal blocks; rank r gets the sum of all ranks' block r. in.size() == size() × out.size().
    virtual void reduceScatter(std::span<const float> in, std::span<float> out) = 0;
    virtual void reduceScatter(std::span<const double> in, std::span<double> out) = 0;
    virtual void allGather(std::span<const float> in, std::span<float> out) = 0;
    virtual void allGather(std::span<const double> in, std::span<double> out) = 0;
    virtual void broadcast(std::span<std::byte> data, int root) = 0;
    virtual void send(std::span<const std::byte> data, int to, int tag) = 0;
    virtual void recv(std::span<std::byte> data, int from, int tag) = 0;
    /// A send that does not wait for its receiver: `data` must stay as it is until wait(). Returns a ticket.
    [[nodiscard]] virtual int post(std::span<const std::byte> data, int to, int tag) = 0;
    virtual void wait(int ticket) = 0;

    // Collectives that go on beside the caller's own work. All ranks start them in the same order and finish each; `in` and `out`
    // belong to the call until finish(). Sums add up in the order of the ranks, so their bits do not depend on how a buffer is cut.
    // At most 256 MiB each. Both return a ticket.
    [[nodiscard]] virtual int startReduceScatter(std::span<const float> in, std::span<float> out) = 0;
    [[nodiscard]] virtual int startAllGather(std::span<const float> in, std::span<float> out) = 0;
    virtual void finish(int ticket) = 0;
    /// Lets what was started move on; never waits.
    virtual void progress() = 0;
    /// What it keeps for its calls, by now.
    [[nodiscard]] virtual std::size_t bytes() const { return 0; }
    virtual void barrier() = 0;
};

/// One rank alone; no library behind it.
[[nodiscard]] std::unique_ptr<Communicator> makeSelfCommunicator();

/// `count` ranks in this process, one thread each: rank r uses element r on its own thread. Sums run in the order of the ranks.
/// A rank whose communicator dies before its peers' lets their calls throw instead of waiting for ever.
[[nodiscard]] std::vector<std::unique_ptr<Communicator>> makeThreadCommunicators(int count);

} // namespace telehelm::comm
