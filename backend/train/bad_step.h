// SPDX-License-Identifier: Apache-2.0
// Where a step became not finite: it is run once more, with a look at the model's numbers at each turn.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "model/provenance.h"
#include "parallel/mesh.h"

namespace telehelm::train {

struct Provenance {
    std::string text; // "rank 1, stage 0, micro-batch 2, layer 3: layers.3.attention.qkv"
    std::map<std::string, std::string> facts;
};

/// Trainer thread only; of one re-run.
class OriginFinder {
public:
    OriginFinder(model::Model& model, std::int64_t layers) : m_model(model), m_layers(layers) {}
    /// At each turn of the re-run, before an action on that micro-batch: looks at what was computed before it.
    void turn(std::int64_t microBatch) {
        look();
        m_microBatch = microBatch;
    }
    void look();
    /// Collective over the mesh; the same answer on all ranks: the first in the order micro-batch, computation, rank. `nats`: what
    /// the re-run returned.
    [[nodiscard]] Provenance origin(const parallel::Mesh& mesh, double nats);

private:
    model::Model& m_model;
    const std::int64_t m_layers;
    std::int64_t m_microBatch = -1; // of what was computed last; −1: nothing yet
    std::optional<model::NonFinite> m_found;
    std::int64_t m_foundIn = 0; // micro-batch
};

} // namespace telehelm::train
