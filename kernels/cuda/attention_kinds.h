// SPDX-License-Identifier: Apache-2.0
// The implementations behind attention.h. Null: this build or this device does not have it.
#pragma once

#include <memory>

#include "telehelm/kernels/cuda/attention.h"

namespace telehelm::kernels::cuda {

[[nodiscard]] std::unique_ptr<Attention> makeMmaAttention();
[[nodiscard]] std::unique_ptr<Attention> makeWgmmaAttention();
[[nodiscard]] std::unique_ptr<Attention> makeCudnnAttention();

} // namespace telehelm::kernels::cuda
