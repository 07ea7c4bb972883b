// SPDX-License-Identifier: Apache-2.0
// A tiny model trained for 20 steps by the real engine on any mesh. Ranks are threads of this program, with real collectives
// between them; a test may put something of its own between engine and world.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "train/step_engine.h"

namespace telehelm::tests {

constexpr std::int64_t kSteps = 20, kLength = 8, kVocab = 24;

/// In fp32 the meshes differ by the order of sums only; what that makes of 20 steps' losses under Adam's large steps is a few
/// 1e-6 relative (tst_parallel_train prints it). The bound of the losses; ten times that for norms and single tokens' losses.
/// What plausible bugs make of the losses: tst_planted_bugs.
constexpr double kBound = 5e-5;

/// How a run is cut. The sequences of a step follow from `accumulation` alone, so that all meshes have the same.
struct Cut {
    int tensor = 1, pipeline = 1, data = 1;
    bool sequence = false;
    int chunks = 1;
    std::int64_t accumulation = 1;
    std::vector<std::int64_t> layers = {}; // of each part; empty: balanced
    std::string recompute = "none";
    [[nodiscard]] std::string text() const;
};
/// All meshes of up to 8 ranks, with sequence parallelism where there is something to split.
[[nodiscard]] std::vector<Cut> allMeshes();
[[nodiscard]] config::RunConfig configOf(const Cut& cut);
/// The same model and steps on one rank, all sequences at once.
[[nodiscard]] config::RunConfig aloneLike(const config::RunConfig& config);

/// Tokens with something to learn: a pure function of step and index.
[[nodiscard]] std::unique_ptr<data::Sampler> patternSampler();
/// Calls `rank` on a thread for each; returns what the first one that threw has said.
[[nodiscard]] std::string runRanks(int ranks, const std::function<void(std::unique_ptr<comm::Communicator>)>& rank);

struct Trained {
    std::vector<double> losses, norms, evaluated;
    std::map<std::string, std::string> blame; // of the first step that was skipped
    bool replicasAgree = true;
    std::string failure;
};

/// What stands between engine and world, made on each rank's thread. Empty: nothing.
struct Between {
    std::function<std::unique_ptr<comm::Communicator>(std::unique_ptr<comm::Communicator>)> world = {};
    std::function<std::unique_ptr<model::Model>(std::unique_ptr<model::Model>, const parallel::Mesh&)> model = {};
};
[[nodiscard]] Trained trainMesh(const config::RunConfig& config, const Between& between = {});

/// Relative; not finite where a value is not, 1e9 where there are more or fewer.
[[nodiscard]] double largestError(const std::vector<double>& values, const std::vector<double>& expected);

/// Passes everything on; what is split from it has a decorator of the same kind.
class Passing : public comm::Communicator {
public:
    explicit Passing(std::unique_ptr<comm::Communicator> inner) : m_inner(std::move(inner)) {}
    [[nodiscard]] int rank() const override { return m_inner->rank(); }
    [[nodiscard]] int size() const override { return m_inner->size(); }
    [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) const override {
        return around(m_inner->split(colour, key));
    }
    void allReduce(std::span<float> data, comm::Reduce op) override { m_inner->allReduce(data, op); }
    void allReduce(std::span<double> data, comm::Reduce op) override { m_inner->allReduce(data, op); }
    void reduceScatter(std::span<const float> in, std::span<float> out) override { m_inner->reduceScatter(in, out); }
    void reduceScatter(std::span<const double> in, std::span<double> out) override { m_inner->reduceScatter(in, out); }
    void allGather(std::span<const float> in, std::span<float> out) override { m_inner->allGather(in, out); }
    void allGather(std::span<const double> in, std::span<double> out) override { m_inner->allGather(in, out); }
    void broadcast(std::span<std::byte> data, int root) override { m_inner->broadcast(data, root); }
    void send(std::span<const std::byte> data, int to, int tag) override { m_inner->send(data, to, tag); }
    void recv(std::span<std::byte> data, int from, int tag) override { m_inner->recv(data, from, tag); }
    [[nodiscard]] int post(std::span<const std::byte> data, int to, int tag) override { return m_inner->post(data, to, tag); }
    void wait(int ticket) override { m_inner->wait(ticket); }
    [[nodiscard]] int startReduceScatter(std::span<const float> in, std::span<float> out) override {
        return m_inner->startReduceScatter(in, out);
    }
    [[nodiscard]] int startAllGather(std::span<const float> in, std::span<float> out) override {
        return m_inner->startAllGather(in, out);
    }
    void finish(int ticket) override { m_inner->finish(ticket); }
    void progress() override { m_inner->progress(); }
    void barrier() override { m_inner->barrier(); }

private:
    [[nodiscard]] virtual std::unique_ptr<Communicator> around(std::unique_ptr<Communicator> inner) const = 0;
    std::unique_ptr<comm::Communicator> m_inner;
};

} // namespace telehelm::tests
