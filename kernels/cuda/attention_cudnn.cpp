// SPDX-License-Identifier: Apache-2.0
// Attention through cuDNN's header-only front end. cuDNN itself is opened when it is there, so nothing links it. Host code alone.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#include <cudnn_frontend.h>

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <tuple>
#include <unordered_map>

#include "attention_kinds.h"
#include "gpu.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr; // where the front end looks for cuDNN's functions
} // namespace cudnn_frontend

namespace telehelm::kernels::cuda {

namespace fe = cudnn_frontend;

namespace {

enum Uid : std::int64_t { kQ = 1, kK, kV, kOut, kStats, kDOut, kDQ, kDK, kDV };

void check(fe::error_t error, const char* what) {
    if (error.is_bad())
        throw std::runtime_error(std::string("cuDNN, ") + what + ": " + error.get_message());
}
void check(cudnnStatus_t status, const char* what) {
    if (status != CUDNN_STATUS_SUCCESS)
        throw std::runtime_error(std::string(what) + ": " + fe::detail::get_error_string(status));
}

struct Plan {
    std::shared_ptr<fe::graph::Graph> forward, backward;
    std::int64_t workspace = 0;
};

class CudnnAttention final : public Attention {
public:
    explicit CudnnAttention(cudnnHandle_t handle) : m_handle(handle) {}
    ~CudnnAttention() override { static_cast<void>(fe::detail::destroy_handle(m_handle)); }
    CudnnAttention(const CudnnAttention&) = delete;
    CudnnAttention& operator=(const CudnnAttention&) = delete;

    [[nodiscard]] std::string name() const override { return "cudnn"; }
    /// Plans for the scale that attention has here, 1 / √D.
    [[nodiscard]] std::size_t scratchBytes(const AttentionBatch& batch) override {
        const std::int64_t bytes = planFor(batch, 1.0F / std::sqrt(static_cast<float>(batch.D))).workspace;
        m_scratchBytes = std::max(m_scratchBytes, bytes);
        return static_cast<std::size_t>(bytes);
    }

    void forward(Bf16* out, float* lse, const Bf16* qkv, const AttentionBatch& batch, float scale, void* scratch,
                 const Stream& stream) override {
        const Plan& plan = planFor(batch, scale);
        auto pack = inputs(qkv, batch);
        pack[kOut] = out;
        pack[kStats] = lse;
        run(*plan.forward, pack, plan, scratch, stream, "forward");
    }

    void backward(Bf16* dQkv, const Bf16* dOut, const Bf16* qkv, const Bf16* out, const float* lse, const AttentionBatch& batch,
                  float scale, void* scratch, const Stream& stream) override {
        const Plan& plan = planFor(batch, scale);
        auto pack = inputs(qkv, batch);
        pack[kOut] = const_cast<Bf16*>(out);
        pack[kStats] = const_cast<float*>(lse);
        pack[kDOut] = const_cast<Bf16*>(dOut);
        pack[kDQ] = dQkv;
        pack[kDK] = dQkv + batch.H * batch.D;
        pack[kDV] = dQkv + 2 * batch.H * batch.D;
        run(*plan.backward, pack, plan, scratch, stream, "backward");
    }

private:
    using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;
    using Pack = std::unordered_map<std::int64_t, void*>;
    using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, float>;

    static Pack inputs(const Bf16* qkv, const AttentionBatch& batch) {
        Bf16* const q = const_cast<Bf16*>(qkv);
        return {{kQ, q}, {kK, q + batch.H * batch.D}, {kV, q + 2 * batch.H * batch.D}};
    }

    /// A smaller batch than the one planned for could be given another algorithm, one that wants more.
    void run(const fe::graph::Graph& graph, Pack& pack, const Plan& plan, void* scratch, const Stream& stream, const char* what) {
        if (plan.workspace > m_scratchBytes)
            throw std::runtime_error("cuDNN wants " + std::to_string(plan.workspace) + " bytes of scratch for this batch, and " +
                                     std::to_string(m_scratchBytes) + " were planned");
        check(fe::detail::set_stream(m_handle, static_cast<cudaStream_t>(stream.native())), "cudnnSetStream");
        check(graph.execute(m_handle, pack, scratch), what);
    }

    /// (B, H, T, D) in rows of `heads` heads.
    static std::vector<std::int64_t> strides(const AttentionBatch& batch, std::int64_t heads) {
        return {batch.T * heads * batch.D, batch.D, heads * batch.D, 1};
    }
    static Tensor tensor(fe::graph::Graph& graph, Uid uid, const char* name, const AttentionBatch& batch, std::int64_t heads) {
        return graph.tensor(fe::graph::Tensor_attributes()
                                .set_name(name)
                                .set_uid(uid)
                                .set_dim({batch.B, batch.H, batch.T, batch.D})
                                .set_stride(strides(batch, heads)));
    }
    static Tensor stats(fe::graph::Graph& graph, const AttentionBatch& batch) {
        return graph.tensor(fe::graph::Tensor_attributes()
                                .set_name("stats")
                                .set_uid(kStats)
                                .set_dim({batch.B, batch.H, batch.T, 1})
                                .set_stride({batch.H * batch.T, batch.T, 1, 1})
                                .set_data_type(fe::DataType_t::FLOAT));
    }
    static void asOutput(const Tensor& tensor, Uid uid, const AttentionBatch& batch, std::int64_t heads) {
        tensor->set_output(true).set_uid(uid).set_dim({batch.B, batch.H, batch.T, batch.D}).set_stride(strides(batch, heads));
    }
    static std::shared_ptr<fe::graph::Graph> newGraph() {
        auto graph = std::make_shared<fe::graph::Graph>();
        graph->set_io_data_type(fe::DataType_t::BFLOAT16)
            .set_intermediate_data_type(fe::DataType_t::FLOAT)
            .set_compute_data_type(fe::DataType_t::FLOAT);
        return graph;
    }

    std::shared_ptr<fe::graph::Graph> forwardGraph(const AttentionBatch& batch, float scale) {
        auto graph = newGraph();
        const std::int64_t heads = 3 * batch.H;
        const auto q = tensor(*graph, kQ, "q", batch, heads), k = tensor(*graph, kK, "k", batch, heads),
                   v = tensor(*graph, kV, "v", batch, heads);
        const auto [out, lse] = graph->sdpa(q, k, v,
                                            fe::graph::SDPA_attributes()
                                                .set_name("attention")
                                                .set_generate_stats(true)
                                                .set_causal_mask(true)
                                                .set_attn_scale(scale));
        asOutput(out, kOut, batch, batch.H);
        lse->set_output(true).set_uid(kStats).set_data_type(fe::DataType_t::FLOAT);
        check(graph->build(m_handle, {fe::HeurMode_t::A}), "planning the forward");
        return graph;
    }

    std::shared_ptr<fe::graph::Graph> backwardGraph(const AttentionBatch& batch, float scale) {
        auto graph = newGraph();
        const std::int64_t heads = 3 * batch.H;
        const auto q = tensor(*graph, kQ, "q", batch, heads), k = tensor(*graph, kK, "k", batch, heads),
                   v = tensor(*graph, kV, "v", batch, heads), out = tensor(*graph, kOut, "out", batch, batch.H),
                   dOut = tensor(*graph, kDOut, "dOut", batch, batch.H);
        const auto [dQ, dK, dV] = graph->sdpa_backward(q, k, v, out, dOut, stats(*graph, batch),
                                                       fe::graph::SDPA_backward_attributes()
                                                           .set_name("attention backward")
                                                           .set_causal_mask(true)
                                                           .set_attn_scale(scale)
                                                           .set_deterministic_algorithm(true));
        asOutput(dQ, kDQ, batch, heads);
        asOutput(dK, kDK, batch, heads);
        asOutput(dV, kDV, batch, heads);
        check(graph->build(m_handle, {fe::HeurMode_t::A}), "planning the backward");
        return graph;
    }

    const Plan& planFor(const AttentionBatch& batch, float scale) {
        Plan& plan = m_plans[{batch.B, batch.T, batch.H, batch.D, scale}];
        if (plan.forward == nullptr) {
            if (!attentionTakes(batch.D))
                throw std::invalid_argument("attention: heads must be of 64 or 128");
            std::int64_t forwardBytes = 0, backwardBytes = 0;
            auto forward = forwardGraph(batch, scale);
            plan.backward = backwardGraph(batch, scale);
            check(forward->get_workspace_size(forwardBytes), "the forward's workspace");
            check(plan.backward->get_workspace_size(backwardBytes), "the backward's workspace");
            plan.workspace = std::max(forwardBytes, backwardBytes);
            plan.forward = std::move(forward);
        }
        return plan;
    }

    cudnnHandle_t m_handle;
    std::int64_t m_scratchBytes = 0; // that callers were told to have
    std::map<Key, Plan> m_plans;
};

} // namespace

std::unique_ptr<Attention> makeCudnnAttention() {
    static const bool isThere =
        (fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_GLOBAL)) != nullptr; // for the process
    if (!isThere)
        return nullptr;
    cudnnHandle_t handle = nullptr; // refused: of another CUDA than the driver's, or parts of it are missing
    if (fe::detail::create_handle(&handle) != CUDNN_STATUS_SUCCESS)
        return nullptr;
    return std::make_unique<CudnnAttention>(handle);
}

} // namespace telehelm::kernels::cuda
