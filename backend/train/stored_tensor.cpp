// SPDX-License-Identifier: Apache-2.0
#include "train/stored_tensor.h"

namespace telehelm::train {

std::vector<StoredTensor> storedTensors(const std::vector<model::ParameterInfo>& layout, int tensorRank) {
    std::vector<StoredTensor> tensors;
    tensors.reserve(layout.size());
    for (const model::ParameterInfo& info : layout) {
        tensors.push_back({.name = info.name,
                           .shape = info.globalShape,
                           .split = {.dim = info.splitDim, .blocks = info.blocks, .parts = info.parts, .part = info.part},
                           .offset = info.offset,
                           .size = info.size,
                           .writes = info.parts > 1 || tensorRank == 0});
    }
    return tensors;
}

} // namespace telehelm::train
