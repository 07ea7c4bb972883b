// SPDX-License-Identifier: Apache-2.0
#include "train/bad_step.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace telehelm::train {
namespace {

/// 15 bits micro-batch, 1 backward, 20 position, 16 rank: exact in a double, smaller is earlier.
double keyOf(std::int64_t microBatch, const model::NonFinite& what, int rank) {
    static_assert(config::kMostRanks <= 65'536);
    double key = static_cast<double>(std::clamp<std::int64_t>(microBatch, 0, 32767));
    key = key * 2 + (what.inBackward ? 1 : 0);
    key = key * (1 << 20) + static_cast<double>(what.position);
    return key * 65536 + rank;
}

std::string share(comm::Communicator& world, std::string text, int root) {
    std::uint64_t size = text.size();
    world.broadcast(std::as_writable_bytes(std::span(&size, 1)), root);
    text.resize(size);
    world.broadcast(std::as_writable_bytes(std::span(text)), root);
    return text;
}

} // namespace

void OriginFinder::look() {
    if (!m_found && m_microBatch >= 0) {
        m_found = model::firstNonFinite(m_model, m_layers);
        m_foundIn = m_microBatch;
    }
}

Provenance OriginFinder::origin(const parallel::Mesh& mesh, double nats) {
    comm::Communicator& world = mesh.world();
    if (!m_found && !std::isfinite(nats)) {
        m_found = model::NonFinite{"loss", m_layers, false, (1 << 20) - 1, false};
        m_foundIn = m_microBatch;
    }
    const model::NonFinite own = m_found.value_or(model::NonFinite{});
    constexpr double kNothing = 9e15;
    std::array<double, 1> first = {m_found ? keyOf(m_foundIn, own, world.rank()) : kNothing};
    world.allReduce(std::span(first), comm::Reduce::Min);
    if (first[0] >= kNothing) {
        return {"every number is finite when the step is run again: the sum overflowed, or the fault was a passing one",
                {{"reproduced", "no"}}};
    }
    const int rank = static_cast<int>(std::fmod(first[0], 65536));
    const parallel::Coordinates at = mesh.shape().coordinates(rank);
    const bool isMine = rank == world.rank();
    const auto fact = [&](const std::string& text) { return share(world, isMine ? text : std::string(), rank); };
    Provenance out;
    out.facts = {{"rank", std::to_string(rank)}, {"stage", std::to_string(at.pipeline)}, {"reproduced", "yes"}};
    out.facts["micro_batch"] = fact(std::to_string(m_foundIn));
    out.facts["layer"] = fact(std::to_string(own.layer));
    out.facts["tensor"] = fact(own.tensor);
    out.facts["direction"] = fact(own.inBackward ? "backward" : "forward");
    out.facts["weight_is_bad"] = fact(own.weightIsBad ? "yes" : "no");
    const std::string& layer = out.facts["layer"];
    out.text = "rank " + out.facts["rank"] + ", stage " + out.facts["stage"] + ", micro-batch " + out.facts["micro_batch"] +
               (layer == "-1" ? ", embedding" : layer == std::to_string(m_layers) ? ", after the last layer" : ", layer " + layer) + ": " +
               (out.facts["direction"] == "backward" ? "gradient of " : "") + out.facts["tensor"] +
               (out.facts["weight_is_bad"] == "yes" ? ", whose weight is not finite itself" : "");
    return out;
}

} // namespace telehelm::train
