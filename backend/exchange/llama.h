// SPDX-License-Identifier: Apache-2.0
// Our model as Hugging Face's LlamaForCausalLM: which of its tensors is which stretch of which of ours, and its config.json.
// Both turn RoPE's pairs as (i, i + D/2) and keep heads in the same order, so no row moves. Our multipliers do not exist there:
// they go into the embedding and the head.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "telehelm/ipc/result.h"

namespace telehelm::exchange {

/// One of theirs: `ours` from element `first` on, times `factor`.
struct LlamaTensor {
    std::string name; // "model.layers.0.self_attn.q_proj.weight"
    std::vector<std::int64_t> shape;
    std::string ours; // "layers.0.attention.qkv"
    std::int64_t first = 0, size = 0;
    float factor = 1;
};
/// All of a model, ours in the order of its layout, each of them covered exactly once.
[[nodiscard]] std::vector<LlamaTensor> llamaTensors(const config::ModelConfig& model);

[[nodiscard]] std::string llamaConfigText(const config::ModelConfig& model);
/// Does the folder's config.json describe this model? Refused with both values, and for what our model cannot be (grouped
/// queries, biases, tied embeddings, scaled RoPE).
[[nodiscard]] Result<void> checkLlamaConfig(const std::filesystem::path& folder, const config::ModelConfig& model);

} // namespace telehelm::exchange
