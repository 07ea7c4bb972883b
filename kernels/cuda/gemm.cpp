// SPDX-License-Identifier: Apache-2.0
// Host code alone. cuBLASLt is column-major: a row-major (N, C) is its (C, N), so each product is asked for transposed.
#include "telehelm/kernels/cuda/gemm.h"

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <cublasLt.h>

#include "gpu.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr std::size_t kWorkspaceBytes = Gemm::kWorkspaceBytes;
constexpr int kCandidates = 8, kTimedRuns = 5;

void check(cublasStatus_t status, const char* expression) {
    if (status != CUBLAS_STATUS_SUCCESS)
        throw std::runtime_error(std::string(expression) + ": " + cublasLtGetStatusString(status));
}
#define TELEHELM_CUBLAS_CHECK(expression) check(expression, #expression)

struct DescriptorEnd {
    void operator()(cublasLtMatmulDesc_t handle) const { static_cast<void>(cublasLtMatmulDescDestroy(handle)); }
    void operator()(cublasLtMatrixLayout_t handle) const { static_cast<void>(cublasLtMatrixLayoutDestroy(handle)); }
    void operator()(cublasLtMatmulPreference_t handle) const { static_cast<void>(cublasLtMatmulPreferenceDestroy(handle)); }
    void operator()(cublasLtHandle_t handle) const { static_cast<void>(cublasLtDestroy(handle)); }
};
template <typename Handle> using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, DescriptorEnd>;

/// A product in cuBLASLt's terms: D (m, n) = alpha · op(A) op(B) + beta · C, inner size k.
struct Product {
    bool transposesA, transposesB, isFloat, adds; // isFloat: C and D are fp32
    std::int64_t m, n, k, ldA, ldB, ldD;
    auto operator<=>(const Product&) const = default;
};

struct Plan {
    Owned<cublasLtMatmulDesc_t> product;
    Owned<cublasLtMatrixLayout_t> a, b, d;
    cublasLtMatmulAlgo_t algorithm{};
};

Owned<cublasLtMatrixLayout_t> layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, std::int64_t ld) {
    cublasLtMatrixLayout_t handle = nullptr;
    TELEHELM_CUBLAS_CHECK(
        cublasLtMatrixLayoutCreate(&handle, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns), ld));
    return Owned<cublasLtMatrixLayout_t>(handle);
}

std::string text(const Product& p) {
    return std::to_string(p.m) + " x " + std::to_string(p.n) + " x " + std::to_string(p.k);
}

} // namespace

struct Gemm::State {
    Owned<cublasLtHandle_t> handle;
    Owned<cublasLtMatmulPreference_t> preference;
    DeviceBuffer workspace{kWorkspaceBytes};
    std::map<Product, Plan> plans;
    bool measures = false;

    State();
    Plan describe(const Product& product) const;
    std::vector<cublasLtMatmulHeuristicResult_t> candidates(const Plan& plan, const Product& product) const;
    void multiply(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const void* a, const void* b, const void* c, void* d,
                  float alpha, float beta, const Stream& stream) const;
    cublasLtMatmulAlgo_t fastest(const std::vector<cublasLtMatmulHeuristicResult_t>& candidates, const Plan& plan, const void* a,
                                 const void* b, const void* c, void* d, float beta, const Stream& stream) const;
    void run(const Product& product, const void* a, const void* b, const void* c, void* d, float alpha, float beta,
             const Stream& stream);
};

Gemm::State::State() {
    cublasLtHandle_t lt = nullptr;
    TELEHELM_CUBLAS_CHECK(cublasLtCreate(&lt));
    handle.reset(lt);
    cublasLtMatmulPreference_t wishes = nullptr;
    TELEHELM_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&wishes));
    preference.reset(wishes);
    const std::size_t bytes = kWorkspaceBytes;
    TELEHELM_CUBLAS_CHECK(
        cublasLtMatmulPreferenceSetAttribute(wishes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes));
    // Split sums meet in the workspace, in fp32; "in place" would add them up in the result as they come.
    const std::uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    TELEHELM_CUBLAS_CHECK(
        cublasLtMatmulPreferenceSetAttribute(wishes, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes));
    const std::uint32_t alignment = 16; // what callers promise: the answer must not depend on one call's pointers
    for (const auto which : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                             CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
        TELEHELM_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(wishes, which, &alignment, sizeof alignment));
}

Plan Gemm::State::describe(const Product& product) const {
    Plan plan;
    cublasLtMatmulDesc_t description = nullptr;
    TELEHELM_CUBLAS_CHECK(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    plan.product.reset(description);
    const cublasOperation_t a = product.transposesA ? CUBLAS_OP_T : CUBLAS_OP_N,
                            b = product.transposesB ? CUBLAS_OP_T : CUBLAS_OP_N;
    TELEHELM_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a));
    TELEHELM_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b));
    plan.a = product.transposesA ? layout(CUDA_R_16BF, product.k, product.m, product.ldA)
                                 : layout(CUDA_R_16BF, product.m, product.k, product.ldA);
    plan.b = product.transposesB ? layout(CUDA_R_16BF, product.n, product.k, product.ldB)
                                 : layout(CUDA_R_16BF, product.k, product.n, product.ldB);
    plan.d = layout(product.isFloat ? CUDA_R_32F : CUDA_R_16BF, product.m, product.n, product.ldD);
    return plan;
}

std::vector<cublasLtMatmulHeuristicResult_t> Gemm::State::candidates(const Plan& plan, const Product& product) const {
    std::vector<cublasLtMatmulHeuristicResult_t> found(kCandidates);
    int count = 0;
    TELEHELM_CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle.get(), plan.product.get(), plan.a.get(), plan.b.get(),
                                                         plan.d.get(), plan.d.get(), preference.get(), kCandidates, found.data(),
                                                         &count));
    found.resize(static_cast<std::size_t>(count));
    std::erase_if(found, [](const auto& result) { return result.state != CUBLAS_STATUS_SUCCESS; });
    if (found.empty())
        throw std::runtime_error("cublasLtMatmulAlgoGetHeuristic knows no algorithm for a product of " + text(product));
    return found;
}

void Gemm::State::multiply(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const void* a, const void* b, const void* c,
                           void* d, float alpha, float beta, const Stream& stream) const {
    TELEHELM_CUBLAS_CHECK(cublasLtMatmul(handle.get(), plan.product.get(), &alpha, a, plan.a.get(), b, plan.b.get(), &beta, c,
                                         plan.d.get(), d, plan.d.get(), &algorithm, workspace.data(), kWorkspaceBytes,
                                         static_cast<cudaStream_t>(stream.native())));
}

/// d is overwritten; where c is d, sums pile up in it.
cublasLtMatmulAlgo_t Gemm::State::fastest(const std::vector<cublasLtMatmulHeuristicResult_t>& candidates, const Plan& plan,
                                          const void* a, const void* b, const void* c, void* d, float beta,
                                          const Stream& stream) const {
    Event begin, end;
    std::size_t best = 0;
    double bestMs = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        std::array<double, kTimedRuns> ms{};
        for (double& time : ms) {
            begin.record(stream);
            multiply(plan, candidates[i].algo, a, b, c, d, 1.0F, beta, stream);
            end.record(stream);
            end.synchronize();
            time = end.msSince(begin);
        }
        std::ranges::nth_element(ms, ms.begin() + kTimedRuns / 2);
        if (i == 0 || ms[kTimedRuns / 2] < bestMs) {
            best = i;
            bestMs = ms[kTimedRuns / 2];
        }
    }
    return candidates[best].algo;
}

void Gemm::State::run(const Product& product, const void* a, const void* b, const void* c, void* d, float alpha, float beta,
                      const Stream& stream) {
    if (product.m == 0 || product.n == 0)
        return;
    if (c == nullptr)
        c = d; // never read: beta is 0
    auto found = plans.find(product);
    if (found == plans.end()) {
        Plan plan = describe(product);
        const auto all = candidates(plan, product);
        if (measures && product.adds && c == d) { // measured into another place, so that nothing is added twice
            const DeviceBuffer other(static_cast<std::size_t>(product.ldD * product.n) *
                                     (product.isFloat ? sizeof(float) : sizeof(Bf16)));
            plan.algorithm = fastest(all, plan, a, b, other.data(), other.data(), beta, stream);
        } else {
            plan.algorithm = measures ? fastest(all, plan, a, b, c, d, beta, stream) : all.front().algo;
        }
        found = plans.emplace(product, std::move(plan)).first;
    }
    multiply(found->second, found->second.algorithm, a, b, c, d, alpha, beta, stream);
}

Gemm::Gemm() : m_state(std::make_unique<State>()) {}
Gemm::~Gemm() = default;
Gemm::Gemm(Gemm&&) noexcept = default;
Gemm& Gemm::operator=(Gemm&&) noexcept = default;

// yᵀ (O, N) = W (I, O as columns, so transposed) · xᵀ (I, N).
void Gemm::forward(Bf16* y, const Bf16* x, const Bf16* weight, const Bf16* residual, const LinearShape& shape, float alpha,
                   const Stream& stream, std::int64_t yStride) {
    const Product product{
        true, false, false, residual != nullptr, shape.O, shape.N, shape.I, shape.I, shape.I, yStride > 0 ? yStride : shape.O};
    m_state->run(product, weight, x, residual, y, alpha, residual != nullptr ? 1.0F : 0.0F, stream);
}

// dXᵀ (I, N) = Wᵀ (I, O) · dYᵀ (O, N).
void Gemm::backwardInput(Bf16* dX, const Bf16* dY, const Bf16* weight, const LinearShape& shape, float alpha,
                         const Stream& stream, std::int64_t dYStride) {
    const Product product{false,  false, false, false, shape.I, shape.N, shape.O, shape.I, dYStride > 0 ? dYStride : shape.O,
                          shape.I};
    m_state->run(product, weight, dY, nullptr, dX, alpha, 0.0F, stream);
}

// dWᵀ (I, O) += xᵀ (I, N) · dY (dYᵀ is (O, N) as columns, so transposed).
void Gemm::backwardWeight(float* dWeight, const Bf16* dY, const Bf16* x, const LinearShape& shape, float alpha,
                          const Stream& stream, std::int64_t dYStride) {
    const Product product{false,  true, true, true, shape.I, shape.O, shape.N, shape.I, dYStride > 0 ? dYStride : shape.O,
                          shape.I};
    m_state->run(product, x, dY, dWeight, dWeight, alpha, 1.0F, stream);
}

void Gemm::measureCandidates(bool on) {
    m_state->measures = on;
}

double calibrateGemmGflops() {
    constexpr std::int64_t kSize = 8192;
    constexpr std::size_t kElements = static_cast<std::size_t>(kSize * kSize);
    const Stream stream;
    Gemm gemm;
    const DeviceBuffer x(kElements * sizeof(Bf16)), y(kElements * sizeof(Bf16)), weight(kElements * sizeof(Bf16));
    std::vector<Bf16> numbers(kElements); // zeros would run faster than what a model has
    std::minstd_rand random(1);
    for (Bf16& number : numbers)
        number = toBf16(static_cast<float>(random()) / 1073741824.0F - 1.0F);
    for (const DeviceBuffer* buffer : {&x, &weight})
        copyToDevice(buffer->data(), numbers.data(), buffer->bytes(), stream);
    Event begin, end;
    double bestMs = 0;
    for (int run = 0; run <= kTimedRuns; ++run) { // the first one warms up
        begin.record(stream);
        gemm.forward(y.as<Bf16>(), x.as<Bf16>(), weight.as<Bf16>(), nullptr, {kSize, kSize, kSize}, 1, stream);
        end.record(stream);
        end.synchronize();
        if (const double ms = end.msSince(begin); run == 1 || (run > 1 && ms < bestMs))
            bestMs = ms;
    }
    return 2.0 * static_cast<double>(kElements) * static_cast<double>(kSize) / (bestMs * 1e6);
}

} // namespace telehelm::kernels::cuda
