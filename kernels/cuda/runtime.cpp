// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/cuda/runtime.h"

#include "gpu.h"

namespace telehelm::kernels::cuda {

namespace {

cudaStream_t streamOf(const Stream& stream) {
    return static_cast<cudaStream_t>(stream.native());
}
cudaEvent_t eventOf(const Event& event) {
    return static_cast<cudaEvent_t>(event.native());
}

} // namespace

void detail::StreamEnd::operator()(void* handle) const {
    static_cast<void>(cudaStreamDestroy(static_cast<cudaStream_t>(handle)));
}
void detail::EventEnd::operator()(void* handle) const {
    static_cast<void>(cudaEventDestroy(static_cast<cudaEvent_t>(handle)));
}
void detail::GraphEnd::operator()(void* handle) const {
    static_cast<void>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(handle)));
}
void detail::DeviceEnd::operator()(void* block) const {
    static_cast<void>(cudaFree(block));
}
void detail::PinnedEnd::operator()(void* block) const {
    static_cast<void>(cudaFreeHost(block));
}

void useDevice(int index) {
    TELEHELM_CUDA_CHECK(cudaSetDevice(index));
}

MemoryInfo memoryInfo() {
    std::size_t freeBytes = 0, totalBytes = 0;
    TELEHELM_CUDA_CHECK(cudaMemGetInfo(&freeBytes, &totalBytes));
    return {freeBytes, totalBytes};
}

Stream::Stream() {
    cudaStream_t handle = nullptr;
    TELEHELM_CUDA_CHECK(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking));
    m_handle.reset(handle);
}

void Stream::synchronize() const {
    TELEHELM_CUDA_CHECK(cudaStreamSynchronize(streamOf(*this)));
}

Event::Event() {
    cudaEvent_t handle = nullptr;
    TELEHELM_CUDA_CHECK(cudaEventCreate(&handle));
    m_handle.reset(handle);
}

void Event::record(const Stream& stream) {
    TELEHELM_CUDA_CHECK(cudaEventRecord(eventOf(*this), streamOf(stream)));
}

void Event::holdUp(const Stream& stream) const {
    TELEHELM_CUDA_CHECK(cudaStreamWaitEvent(streamOf(stream), eventOf(*this), 0));
}

bool Event::isReached() const {
    const cudaError_t answer = cudaEventQuery(eventOf(*this));
    if (answer == cudaErrorNotReady) {
        static_cast<void>(cudaGetLastError()); // CUDA remembers it, and the next launch's check would find it
        return false;
    }
    checkCuda(answer, "cudaEventQuery(eventOf(*this))");
    return true;
}

void Event::synchronize() const {
    TELEHELM_CUDA_CHECK(cudaEventSynchronize(eventOf(*this)));
}

double Event::msSince(const Event& earlier) const {
    float ms = 0;
    TELEHELM_CUDA_CHECK(cudaEventElapsedTime(&ms, eventOf(earlier), eventOf(*this)));
    return static_cast<double>(ms);
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : m_bytes(bytes) {
    void* block = nullptr;
    if (bytes == 0)
        return;
    if (const cudaError_t code = cudaMalloc(&block, bytes); code != cudaSuccess) {
        std::size_t freeBytes = 0, totalBytes = 0;
        static_cast<void>(cudaMemGetInfo(&freeBytes, &totalBytes));
        const std::string wanted = "cudaMalloc of " + std::to_string(bytes >> 20) + " MiB with " +
                                   std::to_string(freeBytes >> 20) + " of " + std::to_string(totalBytes >> 20) + " MiB free";
        checkCuda(code, wanted.c_str());
    }
    m_block.reset(block);
}

PinnedBuffer::PinnedBuffer(std::size_t bytes) : m_bytes(bytes) {
    void* block = nullptr;
    if (bytes == 0)
        return;
    TELEHELM_CUDA_CHECK(cudaMallocHost(&block, bytes));
    m_block.reset(block);
    std::fill_n(static_cast<std::byte*>(block), bytes, std::byte{0});
}

Graph::Recording::Recording(const Stream& stream) : m_stream(stream) {
    TELEHELM_CUDA_CHECK(cudaStreamBeginCapture(streamOf(stream), cudaStreamCaptureModeThreadLocal));
}

Graph::Recording::~Recording() {
    if (!m_open)
        return;
    if (cudaGraph_t graph = nullptr; cudaStreamEndCapture(streamOf(m_stream), &graph) == cudaSuccess)
        static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError()); // the work's exception tells what went wrong
}

Graph Graph::Recording::end() {
    cudaGraph_t recorded = nullptr;
    m_open = false;
    TELEHELM_CUDA_CHECK(cudaStreamEndCapture(streamOf(m_stream), &recorded));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t code = cudaGraphInstantiate(&executable, recorded, 0);
    static_cast<void>(cudaGraphDestroy(recorded));
    checkCuda(code, "cudaGraphInstantiate(&executable, recorded, 0)");
    Graph graph;
    graph.m_handle.reset(executable);
    return graph;
}

void Graph::launch(const Stream& stream) const {
    TELEHELM_CUDA_CHECK(cudaGraphLaunch(static_cast<cudaGraphExec_t>(m_handle.get()), streamOf(stream)));
}

void copyToDevice(void* device, const void* host, std::size_t bytes, const Stream& stream) {
    TELEHELM_CUDA_CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, streamOf(stream)));
}
void copyToHost(void* host, const void* device, std::size_t bytes, const Stream& stream) {
    TELEHELM_CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, streamOf(stream)));
}
void copyOnDevice(void* to, const void* from, std::size_t bytes, const Stream& stream) {
    TELEHELM_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, streamOf(stream)));
}
void fillBytes(void* device, int value, std::size_t bytes, const Stream& stream) {
    TELEHELM_CUDA_CHECK(cudaMemsetAsync(device, value, bytes, streamOf(stream)));
}

} // namespace telehelm::kernels::cuda
