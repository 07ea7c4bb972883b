// SPDX-License-Identifier: Apache-2.0
// The driver's function comes through the runtime: nothing links libcuda, so the programs start without a driver.
#include "hopper.h"

#include <array>

namespace telehelm::kernels::cuda {

namespace {

using Encode = CUresult(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                        const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                        CUtensorMapFloatOOBfill);

Encode* findEncode() {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    TELEHELM_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found));
    if (found != cudaDriverEntryPointSuccess || function == nullptr)
        throw std::runtime_error("the CUDA driver has no cuTensorMapEncodeTiled: it is older than 12.0");
    return reinterpret_cast<Encode*>(function);
}

} // namespace

TensorMap makeTensorMap(const void* values, std::int64_t B, std::int64_t T, std::int64_t heads, std::int64_t D, int rows) {
    static Encode* const encode = findEncode(); // constant
    const auto size = [](std::int64_t n) { return static_cast<cuuint64_t>(n); };
    const std::array<cuuint64_t, 4> sizes = {size(D), size(heads), size(T), size(B)};
    const std::array<cuuint64_t, 3> strides = {size(D * 2), size(heads * D * 2), size(T * heads * D * 2)}; // in bytes
    const std::array<cuuint32_t, 4> box = {64, 1, static_cast<cuuint32_t>(rows), 1}, steps = {1, 1, 1, 1};
    TensorMap map{};
    const CUresult result =
        encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(values), sizes.data(), strides.data(), box.data(),
               steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS)
        throw std::runtime_error("cuTensorMapEncodeTiled refused (" + std::to_string(B) + ", " + std::to_string(T) + ", " +
                                 std::to_string(heads) + ", " + std::to_string(D) + "): CUresult " +
                                 std::to_string(static_cast<int>(result)));
    return map;
}

} // namespace telehelm::kernels::cuda
