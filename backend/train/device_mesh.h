// SPDX-License-Identifier: Apache-2.0
// A mesh's axes for device buffers: NCCL where each rank has a device of its own, else staged through the host's communicators.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "parallel/mesh.h"
#include "telehelm/kernels/device.h"
#include "train/device_link.h"
#include "train/device_optimizer.h"

namespace telehelm::train {

/// Where a rank's model runs.
struct DevicePlace {
    int index = 0;         // of the CUDA device
    bool isShared = false; // several ranks of this machine use it
};

/// Collective: ranks of one host (by its name) take the devices that they see in turn. A launcher may show each rank another one.
[[nodiscard]] DevicePlace devicePlace(comm::Communicator& world, const std::string& host, std::span<const kernels::CudaDevice> devices);

/// Constructing it is collective over the mesh. Throws std::runtime_error where NCCL cannot start.
class DeviceMesh {
public:
    DeviceMesh() = default;
    /// `isRing`: the last stage's chunks go on at the first stage. `listeners` hear of NCCL's calls; they outlive it. What is staged goes through `mesh`'s communicators, which may be watched.
    DeviceMesh(const parallel::Mesh& mesh, const DevicePlace& place, bool isRing, const parallel::Mesh::Listeners& listeners);
    /// Constant after construction. Borrowed.
    [[nodiscard]] DeviceAxes axes() { return {m_tensor.get(), m_data.get(), &m_pipeline}; }

    /// Nothing waits for other ranks any more; of no use afterwards.
    void abort();

private:
    std::unique_ptr<comm::DeviceCommunicator> m_tensor, m_data;
    DeviceLinks m_pipeline;
};

/// Collective: the attention kernel for all ranks, so that a run has one whichever rank or attempt measures. `wanted` where all
/// ranks have it; else the fastest on rank 0.
[[nodiscard]] std::string chooseAttention(const config::RunConfig& config, const parallel::Mesh& mesh, const DevicePlace& place,
                                          const std::string& wanted, const std::function<void(const std::string&)>& onNote);

/// The engine that the config asks for, on the CPU or on `place` with that attention kernel.
[[nodiscard]] std::unique_ptr<model::Model> makeModel(const config::RunConfig& config, const parallel::Mesh& mesh, int threads,
                                                      const DevicePlace& place, const DeviceAxes& axes, const std::string& attention,
                                                      const std::function<void(const std::string&)>& onNote);

} // namespace telehelm::train
