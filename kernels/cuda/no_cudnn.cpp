// SPDX-License-Identifier: Apache-2.0
#include "attention_kinds.h"

namespace telehelm::kernels::cuda {

std::unique_ptr<Attention> makeCudnnAttention() {
    return nullptr;
}

} // namespace telehelm::kernels::cuda
