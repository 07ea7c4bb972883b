// SPDX-License-Identifier: Apache-2.0
// Where weights lie in the flat buffers and what they start from.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/model.h"

namespace telehelm::model {

/// Throws std::invalid_argument with the key and what would be right.
void checkShape(const config::ModelConfig& shape);

/// Elements of the flat buffers: the last weight's end, rounded up to a multiple of 64.
[[nodiscard]] std::int64_t paddedSize(const std::vector<ParameterInfo>& layout);

/// Element `index` of the weight `nameKey` = hashName(name): a standard normal, drawn again outside ± 2. Pure.
[[nodiscard]] double truncatedNormal(std::uint64_t seed, std::uint64_t nameKey, std::uint64_t index);
[[nodiscard]] std::uint64_t hashName(std::string_view name);

/// Fills one weight: ones for norms, else truncated normal × its group's standard deviation. `index` = position in the weight.
template <typename Real>
void initialiseWeight(std::span<Real> weight, const ParameterInfo& info, const config::ModelConfig& shape, std::uint64_t seed);

} // namespace telehelm::model
