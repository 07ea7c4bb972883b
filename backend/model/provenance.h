// SPDX-License-Identifier: Apache-2.0
// Where in a model the first number that is not finite stands, after a micro-batch was run: looked for only when something went
// wrong, in what the engine still holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/model.h"

namespace telehelm::model {

struct NonFinite {
    std::string tensor;    // "layers.3.attention.qkv"
    std::int64_t layer = 0; // −1: embedding; the model's number of layers: last norm, head, loss
    bool inBackward = false; // the gradient of that weight; else what was computed in the forward
    std::int64_t position = 0; // grows with the order of computation, over all stages of a pipeline; below 2^20
    bool weightIsBad = false; // the weight of that name is not finite itself
};

/// The first one of the micro-batch that was trained last: forward first (as far as the engine keeps it), then the weights'
/// gradients from the head to the embedding. `layers`: of the whole model.
[[nodiscard]] std::optional<NonFinite> firstNonFinite(Model& model, std::int64_t layers);

} // namespace telehelm::model
