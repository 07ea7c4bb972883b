// SPDX-License-Identifier: Apache-2.0
// What kernels need beyond C++: launching, and the instructions of sm_80 that have no name in it. Tests have a file of this name
// that runs the same kernels on the host (tests/kernels/cuda_on_host).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::kernels::cuda {

/// What an operator can do about it; empty: nothing that is known here.
inline const char* remedyFor(cudaError_t code) {
    switch (code) {
    case cudaErrorMemoryAllocation:
        return "; the device's memory is full: take more ranks, smaller micro_sequences or recompute = \"full\" (telehelmctl plan "
               "CONFIG tells what each needs), or free it of other processes (nvidia-smi)";
    case cudaErrorECCUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalAddress:
    case cudaErrorUnknown:
        return "; the device is lost to this process: start the run again from its last checkpoint, and if it comes back look at "
               "nvidia-smi -q and the kernel's log (dmesg, Xid) and leave this device out (CUDA_VISIBLE_DEVICES)";
    default:
        return "";
    }
}

inline void checkCuda(cudaError_t code, const char* expression) {
    if (code != cudaSuccess) {
        static_cast<void>(cudaGetLastError()); // told here: a later launch must not be blamed for it
        throw std::runtime_error(std::string(expression) + ": " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")" +
                                 remedyFor(code));
    }
}
#define TELEHELM_CUDA_CHECK(expression) ::telehelm::kernels::cuda::checkCuda(expression, #expression)

using Words = uint4; // 16 bytes: one load, one store

/// Shared memory that a block can have at most here.
inline std::size_t mostSharedBytes() {
    int device = 0, bytes = 0;
    TELEHELM_CUDA_CHECK(cudaGetDevice(&device));
    TELEHELM_CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return static_cast<std::size_t>(bytes);
}

/// 8 on Ampere, 9 on Hopper: of the device that this thread's calls mean.
inline int majorVersion() {
    int device = 0, major = 0;
    TELEHELM_CUDA_CHECK(cudaGetDevice(&device));
    TELEHELM_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    return major;
}

#ifdef __CUDACC__

/// Without it static and dynamic shared memory together must fit 48 KB. Always to the most there is: another thread that launches
/// the kernel with less must not take it back.
template <typename Kernel> void allowShared(const char* name, Kernel* kernel, std::size_t dynamicBytes) {
    cudaFuncAttributes own{};
    checkCuda(cudaFuncGetAttributes(&own, kernel), name);
    if (static_cast<std::size_t>(own.maxDynamicSharedSizeBytes) >= dynamicBytes)
        return;
    const auto most = static_cast<int>(mostSharedBytes() - own.sharedSizeBytes);
    checkCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), name);
}

template <typename... P, typename... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, unsigned threads, std::size_t sharedBytes, const Stream& stream,
            A&&... arguments) {
    if (sharedBytes > 0)
        allowShared(name, kernel, sharedBytes);
    kernel<<<grid, threads, sharedBytes, static_cast<cudaStream_t>(stream.native())>>>(static_cast<P>(arguments)...);
    checkCuda(cudaGetLastError(), name);
}

/// Dynamic shared memory, aligned for 128-byte swizzles.
__device__ inline unsigned char* sharedMemory() {
    extern __shared__ __align__(1024) unsigned char memory[];
    return memory;
}

template <typename T> __device__ inline T fromLane(T value, int laneXor) {
    return __shfl_xor_sync(0xFFFFFFFFU, value, laneXor);
}
__device__ inline unsigned ballot(bool flag) {
    return __ballot_sync(0xFFFFFFFFU, flag);
}
/// A barrier that tells whether any thread brought true.
__device__ inline bool barrierAny(bool flag) {
    return __syncthreads_or(flag) != 0;
}

/// 2^x, denormal results are 0.
__device__ inline float exp2Fast(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}
/// Two floats to bf16, `low` in the low half.
__device__ inline std::uint32_t packBf16(float low, float high) {
    std::uint32_t result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
}

__device__ inline std::uint32_t sharedAddress(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Four 8 × 8 matrices of bf16; lane l gives the address of row l % 8 of matrix l / 8.
__device__ inline void loadMatrices(std::uint32_t (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(sharedAddress(row))
                 : "memory");
}
__device__ inline void loadMatricesTransposed(std::uint32_t (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(sharedAddress(row))
                 : "memory");
}

/// c (16 × 8) += a (16 × 16) · b (16 × 8), fragments as PTX's m16n8k16 has them.
__device__ inline void multiplyAdd(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// 16 bytes to shared memory behind the threads' backs; zeros where not `valid`.
__device__ inline void copyAsync(void* shared, const void* global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(sharedAddress(shared)), "l"(global), "r"(valid ? 16 : 0)
                 : "memory");
}
__device__ inline void endCopyGroup() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Until at most `kPending` of this thread's groups are under way.
template <int kPending> __device__ inline void waitForCopies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#endif

} // namespace telehelm::kernels::cuda
