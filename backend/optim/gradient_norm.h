// SPDX-License-Identifier: Apache-2.0
// The global gradient norm and what clipping makes of it.
#pragma once

#include <span>

namespace telehelm::optim {

/// Σ x² in double, in an order that depends only on the size: the same bits for any number of threads. Shards' sums may be added
/// (allReduce in double); the norm is the root of their sum. `threads` 0: all that this process may use.
[[nodiscard]] double sumOfSquares(std::span<const float> values, int threads);

/// What gradients are multiplied by so that the global norm is at most `clip`; 1 where clip is 0 (off) or the norm is within it.
[[nodiscard]] double clipFactor(double norm, double clip);

} // namespace telehelm::optim
