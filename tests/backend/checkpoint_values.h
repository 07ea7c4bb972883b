// SPDX-License-Identifier: Apache-2.0
// A checkpoint's numbers as one rank would have them, whatever mesh wrote it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <vector>

#include "model/parameter_layout.h"
#include "train/checkpoint_loader.h"
#include "train/checkpoint_store.h"

namespace telehelm::tests {

/// Weights, first and second moments of a whole model, one behind the other. Throws std::runtime_error with the error's text.
inline std::vector<float> checkpointValues(const std::filesystem::path& checkpoint, const config::ModelConfig& shape) {
    const auto layout = model::parameterLayout(shape);
    const std::int64_t size = layout.back().offset + layout.back().size;
    std::vector<float> values(static_cast<std::size_t>(3 * size));
    const auto part = [&](std::size_t which) {
        return std::span(values).subspan(which * static_cast<std::size_t>(size), static_cast<std::size_t>(size));
    };
    const auto manifest = train::verifyCheckpoint(checkpoint);
    if (!manifest)
        throw std::runtime_error(manifest.error().text());
    const auto loaded = train::loadShard(checkpoint, *manifest, layout,
                                         {.from = 0, .to = size, .parameters = part(0), .firstMoment = part(1), .secondMoment = part(2)});
    if (!loaded)
        throw std::runtime_error(loaded.error().text());
    return values;
}

} // namespace telehelm::tests
