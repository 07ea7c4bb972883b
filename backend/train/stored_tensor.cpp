// SPDX-License-Identifier: Apache-2.0
#include "train/stored_tensor.h"

namespace telehelm::train {

std::vector<StoredTensor> storedTensors(const std::vector<model::ParameterInfo>& layout) {
    std::vector<StoredTensor> tensors;
    tensors.reserve(layout.size());
    for (const model::ParameterInfo& info : layout) {
        tensors.push_back(
            {.name = info.name, .shape = info.shape, .split = {}, .offset = info.offset, .size = info.size, .writes = true});
    }
    return tensors;
}

} // namespace telehelm::train
