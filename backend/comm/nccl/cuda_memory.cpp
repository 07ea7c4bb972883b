// SPDX-License-Identifier: Apache-2.0
#include "comm/device_communicator.h"
#include "comm/nccl/cuda_check.h"

namespace telehelm::comm {
namespace {

class CudaMemory final : public DeviceMemory {
public:
    [[nodiscard]] void* allocateDevice(std::size_t bytes) override {
        void* memory = nullptr;
        TELEHELM_CUDA(cudaMalloc(&memory, bytes));
        return memory;
    }
    // What is freed here fails only where the device is lost, and all with it.
    void freeDevice(void* memory) override { cudaFree(memory); }
    [[nodiscard]] std::byte* allocateHost(std::size_t bytes) override {
        void* memory = nullptr;
        TELEHELM_CUDA(cudaMallocHost(&memory, bytes));
        return static_cast<std::byte*>(memory);
    }
    void freeHost(std::byte* memory) override { cudaFreeHost(memory); }
    [[nodiscard]] DeviceStream makeStream() override {
        cudaStream_t stream = nullptr;
        TELEHELM_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        return stream;
    }
    void freeStream(DeviceStream stream) override { cudaStreamDestroy(static_cast<cudaStream_t>(stream)); }
    void toHost(std::byte* host, const void* device, std::size_t bytes, DeviceStream stream) override {
        TELEHELM_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, static_cast<cudaStream_t>(stream)));
    }
    void toDevice(void* device, const std::byte* host, std::size_t bytes, DeviceStream stream) override {
        TELEHELM_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, static_cast<cudaStream_t>(stream)));
    }
    void synchronise(DeviceStream stream) override { TELEHELM_CUDA(cudaStreamSynchronize(static_cast<cudaStream_t>(stream))); }
};

} // namespace

Result<std::shared_ptr<DeviceMemory>> makeCudaMemory() {
    int count = 0;
    if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess || count == 0) {
        return fail(ErrorCode::FailedPrecondition,
                    std::string("no CUDA device can be used: ") +
                        (status != cudaSuccess ? cudaGetErrorString(status) : "the driver sees none (CUDA_VISIBLE_DEVICES?)"));
    }
    return std::shared_ptr<DeviceMemory>(std::make_shared<CudaMemory>());
}

} // namespace telehelm::comm
