// SPDX-License-Identifier: Apache-2.0
#include "exchange/llama.h"

#include <cmath>
#include <functional>
#include <numeric>

#include <nlohmann/json.hpp>

#include "train/file_io.h"

namespace telehelm::exchange {

using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kArchitecture = "LlamaForCausalLM";

/// A key of config.json that must have this value; where it is left out, it counts as `absent` (null: it must be there).
struct Demand {
    const char* key;
    Json value, absent;
    const char* remedy;
};

std::vector<Demand> demandsOf(const config::ModelConfig& model) {
    const char* ours = "write the folder's value into [model]";
    const char* theirs = "this model has no such thing; the folder cannot be imported";
    const Json none;
    return {{"model_type", "llama", none, theirs},
            {"hidden_size", model.hiddenSize, none, ours},
            {"intermediate_size", model.ffnHiddenSize, none, ours},
            {"num_hidden_layers", model.layers, none, ours},
            {"num_attention_heads", model.attentionHeads, none, ours},
            {"num_key_value_heads", model.attentionHeads, model.attentionHeads, "grouped queries cannot be imported"},
            {"head_dim", model.hiddenSize / model.attentionHeads, model.hiddenSize / model.attentionHeads, theirs},
            {"vocab_size", model.vocabSize, none, ours},
            {"rms_norm_eps", model.normEpsilon, 1e-6, ours},
            {"rope_theta", model.ropeTheta, 10'000.0, ours},
            {"hidden_act", "silu", "silu", theirs},
            {"attention_bias", false, false, theirs},
            {"mlp_bias", false, false, theirs},
            {"tie_word_embeddings", false, false, theirs}};
}

bool same(const Json& a, const Json& b) {
    if (a.is_number() && b.is_number()) { // 10000 and 10000.0; 1e-05 as another program prints it
        const double x = a, y = b;
        return std::abs(x - y) <= 1e-9 * std::abs(y);
    }
    return a == b;
}

/// Scaled RoPE goes by several names.
bool scalesRope(const Json& json) {
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
        if (const auto scaling = json.find(key); scaling != json.end() && scaling->is_object()) {
            const std::string type = scaling->value("rope_type", scaling->value("type", "default"));
            if (type != "default") {
                return true;
            }
        }
    }
    return false;
}

} // namespace

std::vector<LlamaTensor> llamaTensors(const config::ModelConfig& model) {
    const std::int64_t C = model.hiddenSize, F = model.ffnHiddenSize, V = model.vocabSize;
    std::vector<LlamaTensor> tensors;
    const auto add = [&](std::string name, std::vector<std::int64_t> shape, std::string ours, std::int64_t first = 0,
                         double factor = 1) {
        const std::int64_t size = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
        tensors.push_back(
            {std::move(name) + ".weight", std::move(shape), std::move(ours), first, size, static_cast<float>(factor)});
    };
    add("model.embed_tokens", {V, C}, "embedding", 0, model.inputMult);
    for (std::int64_t layer = 0; layer < model.layers; ++layer) {
        const std::string ours = "layers." + std::to_string(layer) + ".", theirs = "model." + ours;
        add(theirs + "input_layernorm", {C}, ours + "attention.norm");
        add(theirs + "self_attn.q_proj", {C, C}, ours + "attention.qkv");
        add(theirs + "self_attn.k_proj", {C, C}, ours + "attention.qkv", C * C);
        add(theirs + "self_attn.v_proj", {C, C}, ours + "attention.qkv", 2 * C * C);
        add(theirs + "self_attn.o_proj", {C, C}, ours + "attention.out");
        add(theirs + "post_attention_layernorm", {C}, ours + "ffn.norm");
        add(theirs + "mlp.gate_proj", {F, C}, ours + "ffn.gate_up");
        add(theirs + "mlp.up_proj", {F, C}, ours + "ffn.gate_up", F * C);
        add(theirs + "mlp.down_proj", {C, F}, ours + "ffn.down");
    }
    add("model.norm", {C}, "norm");
    add("lm_head", {V, C}, "head", 0, model.outputMult);
    return tensors;
}

std::string llamaConfigText(const config::ModelConfig& model) {
    const Json json = {{"architectures", {kArchitecture}},
                       {"model_type", "llama"},
                       {"hidden_size", model.hiddenSize},
                       {"intermediate_size", model.ffnHiddenSize},
                       {"num_hidden_layers", model.layers},
                       {"num_attention_heads", model.attentionHeads},
                       {"num_key_value_heads", model.attentionHeads},
                       {"head_dim", model.hiddenSize / model.attentionHeads},
                       {"vocab_size", model.vocabSize},
                       {"max_position_embeddings", model.contextLength},
                       {"rms_norm_eps", model.normEpsilon},
                       {"rope_theta", model.ropeTheta},
                       {"rope_scaling", nullptr},
                       {"hidden_act", "silu"},
                       {"attention_bias", false},
                       {"attention_dropout", 0.0},
                       {"mlp_bias", false},
                       {"tie_word_embeddings", false},
                       {"initializer_range", model.standardDeviation},
                       {"bos_token_id", nullptr},
                       {"eos_token_id", nullptr},
                       {"use_cache", true},
                       {"torch_dtype", "float32"}};
    return json.dump(2) + "\n";
}

Result<void> checkLlamaConfig(const std::filesystem::path& folder, const config::ModelConfig& model) {
    const std::filesystem::path path = folder / "config.json";
    const Result<std::string> text = train::readWhole(path);
    if (!text) {
        return fail(ErrorCode::NotFound, "cannot be opened; a Hugging Face folder has config.json beside its *.safetensors",
                    path.string());
    }
    const Json json = Json::parse(*text, nullptr, false);
    if (!json.is_object()) {
        return fail(ErrorCode::DataLoss, "is no JSON object", path.string());
    }
    for (const Demand& demand : demandsOf(model)) {
        const auto found = json.find(demand.key);
        const Json value = found == json.end() || found->is_null() ? demand.absent : *found;
        if (!same(value, demand.value)) {
            return fail(ErrorCode::InvalidArgument,
                        std::string(demand.key) + " is " + (value.is_null() ? "missing" : value.dump()) +
                            " but by the config's [model] it must be " + demand.value.dump() + "; " + demand.remedy,
                        path.string());
        }
    }
    if (scalesRope(json)) {
        return fail(ErrorCode::InvalidArgument, "scales RoPE; this model has no such thing, the folder cannot be imported",
                    path.string());
    }
    return {};
}

} // namespace telehelm::exchange
