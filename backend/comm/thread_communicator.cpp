// SPDX-License-Identifier: Apache-2.0
// Ranks as threads of one process: tests run a whole mesh in one program. Every collective is: lay out what you bring, wait for
// all, take what you need, wait for all.
#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace telehelm::comm {
namespace {

/// A collective that was started: what each rank has brought so far.
struct Round {
    std::uint64_t number = 0;
    std::vector<std::vector<float>> brought; // by rank; kept from round to round
    int started = 0, finished = 0;
};

/// What the ranks of one communicator share; members guarded by mutex except `offers`, which the barrier orders.
struct Room {
    explicit Room(int count) : size(count), offers(static_cast<std::size_t>(count)), colours(static_cast<std::size_t>(count)) {}

    void barrier() {
        std::unique_lock lock(mutex);
        const std::uint64_t round = rounds;
        if (++waiting == size) {
            waiting = 0;
            ++rounds;
            changed.notify_all();
        } else {
            changed.wait(lock, [&] { return rounds != round || left; });
        }
        if (rounds == round) {
            throw std::runtime_error("a rank of this communicator has left");
        }
    }

    const int size;
    std::vector<const void*> offers;
    std::vector<std::pair<int, int>> colours; // of a split: colour, key
    std::mutex mutex;
    std::condition_variable changed;
    int waiting = 0;
    std::uint64_t rounds = 0;
    bool left = false;
    std::map<std::tuple<int, int, int>, std::vector<std::vector<std::byte>>> mail; // from, to, tag; oldest first
    std::map<int, std::shared_ptr<Room>> parts;                                    // of a split, by colour
    std::vector<std::unique_ptr<Round>> started;                                   // on their way, or free (finished by all)
};

class ThreadCommunicator final : public Communicator {
public:
    ThreadCommunicator(std::shared_ptr<Room> room, int rank) : m_room(std::move(room)), m_rank(rank) {}
    ~ThreadCommunicator() override {
        const std::lock_guard lock(m_room->mutex);
        m_room->left = true;
        m_room->changed.notify_all();
    }
    ThreadCommunicator(const ThreadCommunicator&) = delete;
    ThreadCommunicator& operator=(const ThreadCommunicator&) = delete;

    [[nodiscard]] int rank() const override { return m_rank; }
    [[nodiscard]] int size() const override { return m_room->size; }
    [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) const override;
    void allReduce(std::span<float> data, Reduce op) override { reduceAll(data, op); }
    void allReduce(std::span<double> data, Reduce op) override { reduceAll(data, op); }
    void reduceScatter(std::span<const float> in, std::span<float> out) override { scatterSum(in, out); }
    void reduceScatter(std::span<const double> in, std::span<double> out) override { scatterSum(in, out); }
    void allGather(std::span<const float> in, std::span<float> out) override { gather(in, out); }
    void allGather(std::span<const double> in, std::span<double> out) override { gather(in, out); }
    void broadcast(std::span<std::byte> data, int root) override {
        offer(data.data());
        if (m_rank != root) {
            std::copy_n(of<std::byte>(root), data.size(), data.begin());
        }
        m_room->barrier();
    }
    void send(std::span<const std::byte> data, int to, int tag) override {
        const std::lock_guard lock(m_room->mutex);
        m_room->mail[{m_rank, to, tag}].emplace_back(data.begin(), data.end());
        m_room->changed.notify_all();
    }
    void recv(std::span<std::byte> data, int from, int tag) override {
        std::unique_lock lock(m_room->mutex);
        auto& box = m_room->mail[{from, m_rank, tag}];
        m_room->changed.wait(lock, [&] { return !box.empty() || m_room->left; });
        if (box.empty() || box.front().size() > data.size()) {
            throw std::runtime_error("recv: no message that fits came from rank " + std::to_string(from) + " under tag " +
                                     std::to_string(tag));
        }
        std::ranges::copy(box.front(), data.begin());
        box.erase(box.begin());
    }
    [[nodiscard]] int post(std::span<const std::byte> data, int to, int tag) override {
        send(data, to, tag);
        return 0;
    }
    void wait(int) override {}
    [[nodiscard]] int startReduceScatter(std::span<const float> in, std::span<float> out) override {
        check(in.size() == out.size() * static_cast<std::size_t>(size()), "startReduceScatter: in must be size() blocks of out's length");
        return start(in, out, true);
    }
    [[nodiscard]] int startAllGather(std::span<const float> in, std::span<float> out) override {
        check(out.size() == in.size() * static_cast<std::size_t>(size()), "startAllGather: out must be size() blocks of in's length");
        return start(in, out, false);
    }
    void finish(int ticket) override;
    void progress() override {}
    void barrier() override { m_room->barrier(); }

private:
    void offer(const void* data) const {
        m_room->offers[static_cast<std::size_t>(m_rank)] = data;
        m_room->barrier();
    }
    template <typename T> [[nodiscard]] const T* of(int rank) const {
        return static_cast<const T*>(m_room->offers[static_cast<std::size_t>(rank)]);
    }
    template <typename T> void reduceAll(std::span<T> data, Reduce op) {
        offer(data.data());
        std::vector<T> all(of<T>(0), of<T>(0) + data.size());
        for (int rank = 1; rank < size(); ++rank) {
            const T* from = of<T>(rank);
            for (std::size_t i = 0; i < all.size(); ++i) {
                all[i] = op == Reduce::Sum ? all[i] + from[i] : op == Reduce::Max ? std::max(all[i], from[i]) : std::min(all[i], from[i]);
            }
        }
        m_room->barrier(); // everybody has read
        std::ranges::copy(all, data.begin());
    }
    template <typename T> void scatterSum(std::span<const T> in, std::span<T> out) {
        check(in.size() == out.size() * static_cast<std::size_t>(size()), "reduceScatter: in must be size() blocks of out's length");
        offer(in.data());
        std::vector<T> all(out.size(), T(0));
        for (int rank = 0; rank < size(); ++rank) {
            const T* from = of<T>(rank) + static_cast<std::size_t>(m_rank) * out.size();
            for (std::size_t i = 0; i < all.size(); ++i) {
                all[i] += from[i];
            }
        }
        m_room->barrier();
        std::ranges::copy(all, out.begin());
    }
    template <typename T> void gather(std::span<const T> in, std::span<T> out) {
        check(out.size() == in.size() * static_cast<std::size_t>(size()), "allGather: out must be size() blocks of in's length");
        offer(in.data());
        for (int rank = 0; rank < size(); ++rank) {
            T* to = out.data() + static_cast<std::size_t>(rank) * in.size();
            if (to != of<T>(rank)) {
                std::copy_n(of<T>(rank), in.size(), to);
            }
        }
        m_room->barrier();
    }
    int start(std::span<const float> in, std::span<float> out, bool sums);
    static void check(bool holds, const char* what) {
        if (!holds) {
            throw std::runtime_error(what);
        }
    }

    /// A call of this rank that is not finished.
    struct Own {
        std::uint64_t round = 0;
        std::span<float> out;
        bool sums = false, isFree = true;
    };

    std::shared_ptr<Room> m_room;
    int m_rank;
    std::uint64_t m_starts = 0;
    std::vector<Own> m_own; // by ticket
};

/// Copies what it brings, as a message would.
int ThreadCommunicator::start(std::span<const float> in, std::span<float> out, bool sums) {
    const std::uint64_t number = m_starts++;
    {
        const std::lock_guard lock(m_room->mutex);
        auto& all = m_room->started;
        auto round = std::ranges::find_if(all, [&](const auto& r) { return r->number == number && r->finished < size(); });
        if (round == all.end()) {
            round = std::ranges::find_if(all, [&](const auto& r) { return r->finished == size(); });
            if (round == all.end()) {
                round = all.insert(all.end(), std::make_unique<Round>());
                (*round)->brought.resize(static_cast<std::size_t>(size()));
            }
            (*round)->number = number;
            (*round)->started = (*round)->finished = 0;
        }
        (*round)->brought[static_cast<std::size_t>(m_rank)].assign(in.begin(), in.end());
        ++(*round)->started;
        m_room->changed.notify_all();
    }
    auto own = std::ranges::find(m_own, true, &Own::isFree);
    if (own == m_own.end()) {
        own = m_own.emplace(m_own.end());
    }
    *own = {.round = number, .out = out, .sums = sums, .isFree = false};
    return static_cast<int>(own - m_own.begin());
}

void ThreadCommunicator::finish(int ticket) {
    Own& own = m_own[static_cast<std::size_t>(ticket)];
    std::unique_lock lock(m_room->mutex);
    const auto found = std::ranges::find_if(m_room->started, [&](const auto& r) { return r->number == own.round && r->finished < size(); });
    Round& round = **found; // its place is its own, whatever joins the list
    m_room->changed.wait(lock, [&] { return round.started == size() || m_room->left; });
    if (round.started < size()) {
        throw std::runtime_error("a rank of this communicator has left");
    }
    lock.unlock();
    const std::size_t block = own.sums ? own.out.size() : own.out.size() / static_cast<std::size_t>(size());
    for (std::size_t rank = 0; rank < round.brought.size(); ++rank) {
        const float* from = round.brought[rank].data() + (own.sums ? static_cast<std::size_t>(m_rank) * block : 0);
        float* to = own.out.data() + (own.sums ? 0 : rank * block);
        for (std::size_t i = 0; i < block; ++i) {
            to[i] = own.sums && rank > 0 ? to[i] + from[i] : from[i];
        }
    }
    own.isFree = true;
    lock.lock();
    ++round.finished;
}

std::unique_ptr<Communicator> ThreadCommunicator::split(int colour, int key) const {
    m_room->colours[static_cast<std::size_t>(m_rank)] = {colour, key};
    m_room->barrier();
    std::vector<std::pair<int, int>> members; // key, rank
    for (int rank = 0; rank < size(); ++rank) {
        if (const auto& [theirs, place] = m_room->colours[static_cast<std::size_t>(rank)]; theirs == colour) {
            members.emplace_back(place, rank);
        }
    }
    std::ranges::sort(members);
    std::shared_ptr<Room> part;
    {
        const std::lock_guard lock(m_room->mutex);
        std::shared_ptr<Room>& made = m_room->parts[colour];
        if (!made) {
            made = std::make_shared<Room>(static_cast<int>(members.size()));
        }
        part = made;
    }
    m_room->barrier(); // all have theirs
    if (m_rank == 0) {
        m_room->parts.clear();
    }
    m_room->barrier();
    const auto own = std::ranges::find(members, std::pair{key, m_rank});
    return std::make_unique<ThreadCommunicator>(std::move(part), static_cast<int>(own - members.begin()));
}

} // namespace

std::vector<std::unique_ptr<Communicator>> makeThreadCommunicators(int count) {
    const auto room = std::make_shared<Room>(count);
    std::vector<std::unique_ptr<Communicator>> ranks;
    for (int rank = 0; rank < count; ++rank) {
        ranks.push_back(std::make_unique<ThreadCommunicator>(room, rank));
    }
    return ranks;
}

} // namespace telehelm::comm
