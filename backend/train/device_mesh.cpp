// SPDX-License-Identifier: Apache-2.0
#include "train/device_mesh.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "comm/watched_device_communicator.h"
#include "model/cuda_model.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/cuda/runtime.h"
#include "train/file_io.h"
#include "train/pipeline_runner.h"

namespace telehelm::train {
namespace {

std::unique_ptr<comm::DeviceCommunicator> axisOf(comm::Communicator& host, const char* name, bool usesNccl, comm::CallListener& listener) {
    if (host.size() == 1) {
        return nullptr;
    }
    if (!usesNccl) {
        return comm::makeStagedCommunicator(host, name);
    }
    listener.begins(comm::Call::Stream); // all ranks meet in it
    auto nccl = comm::makeNcclCommunicator(host, name);
    listener.ended(comm::Call::Stream, 0);
    if (!nccl) {
        throw std::runtime_error(nccl.error().text());
    }
    return comm::watchedCommunicator(std::move(*nccl), listener);
}

/// Of ranks that the model's stream may wait for beside the tensor ranks.
comm::DeviceCommunicator* peersOf(const DeviceAxes& axes) {
    if (axes.pipeline != nullptr) {
        for (const auto* way : {&axes.pipeline->inputs, &axes.pipeline->outputs}) {
            if (*way != nullptr) {
                return (*way)->ranks.get();
            }
        }
    }
    return axes.data;
}

} // namespace

DevicePlace devicePlace(comm::Communicator& world, const std::string& host, std::span<const kernels::CudaDevice> devices) {
    const auto gather = [&world](const std::string& text) {
        const std::array<double, 1> own = {static_cast<double>(xxh3(std::as_bytes(std::span(text))) >> 11U)}; // exact in a double
        std::vector<double> all(static_cast<std::size_t>(world.size()));
        world.allGather(std::span<const double>(own), std::span(all));
        return all;
    };
    const auto rank = static_cast<std::ptrdiff_t>(world.rank());
    const std::vector<double> hosts = gather(host);
    const auto before = static_cast<std::size_t>(std::count(hosts.begin(), hosts.begin() + rank, hosts[static_cast<std::size_t>(rank)]));
    const kernels::CudaDevice& mine = devices[before % devices.size()];
    const std::vector<double> ids = gather(host + " " + (mine.id.empty() ? std::to_string(mine.index) : mine.id));
    return {.index = mine.index, .isShared = std::ranges::count(ids, ids[static_cast<std::size_t>(rank)]) > 1};
}

DeviceMesh::DeviceMesh(const parallel::Mesh& mesh, const DevicePlace& place, bool isRing, const parallel::Mesh::Listeners& listeners) {
    std::array<double, 1> isShared = {place.isShared || comm::ncclVersion().empty() ? 1.0 : 0.0};
    mesh.world().allReduce(std::span(isShared), comm::Reduce::Max); // all ranks alike
    kernels::cuda::useDevice(place.index);
    m_tensor = axisOf(mesh.tensor(), "tensor", isShared[0] == 0, listeners.tensor);
    m_data = axisOf(mesh.data(), "data", isShared[0] == 0, listeners.data);
    m_pipeline = makeDeviceLinks(mesh.pipeline(), isRing, [&](comm::Communicator& host, const std::string& axis) {
        auto ranks = axisOf(host, axis.c_str(), isShared[0] == 0, listeners.pipeline);
        return isShared[0] == 0 ? std::move(ranks) : comm::watchedCommunicator(std::move(ranks), listeners.pipeline); // `host` is not
    });
}

void DeviceMesh::abort() {
    const auto end = [](const std::unique_ptr<comm::DeviceCommunicator>& ranks) {
        if (ranks != nullptr) {
            ranks->abort();
        }
    };
    end(m_tensor);
    end(m_data);
    for (const std::unique_ptr<DeviceWay>* way : {&m_pipeline.inputs, &m_pipeline.outputs, &m_pipeline.gradients, &m_pipeline.outputGradients}) {
        if (*way != nullptr) {
            end((*way)->ranks);
        }
    }
}

std::string chooseAttention(const config::RunConfig& config, const parallel::Mesh& mesh, const DevicePlace& place,
                            const std::string& wanted, const std::function<void(const std::string&)>& onNote) {
    kernels::cuda::useDevice(place.index);
    const std::vector<std::string> kinds = kernels::cuda::attentionKinds();
    std::array<double, 1> isMissing = {std::ranges::find(kinds, wanted) == kinds.end() ? 1.0 : 0.0};
    mesh.world().allReduce(std::span(isMissing), comm::Reduce::Max);
    if (isMissing[0] == 0) {
        return wanted;
    }
    if (!wanted.empty()) {
        onNote("attention: " + wanted + ", as the checkpoint was trained, is not on every rank's device; the run goes on with other roundings");
    }
    std::array<char, 32> kind{};
    if (mesh.world().rank() == 0) {
        const std::int64_t heads = config.model.attentionHeads;
        const kernels::cuda::AttentionChoice choice =
            kernels::cuda::chooseAttention({.B = config.microSequences(),
                                            .T = config.model.contextLength,
                                            .H = heads / config.parallel.tensor,
                                            .D = config.model.hiddenSize / heads});
        onNote("attention: " + choice.kind + " (" + choice.why + ")");
        choice.kind.copy(kind.data(), kind.size() - 1);
    }
    mesh.world().broadcast(std::as_writable_bytes(std::span(kind)), 0);
    return kind.data();
}

std::unique_ptr<model::Model> makeModel(const config::RunConfig& config, const parallel::Mesh& mesh, int threads,
                                        const DevicePlace& place, const DeviceAxes& axes, const std::string& attention,
                                        const std::function<void(const std::string&)>& onNote) {
    const model::Placement placement = PipelineRunner::placement(config, mesh);
    if (config.device != "cuda") {
        return model::makeCpuModel(config.model, config.microSequences(), threads, placement);
    }
    return model::makeCudaModel(
        config.model, config.microSequences(), placement,
        {.device = place.index, .attention = attention, .tensor = axes.tensor, .peers = peersOf(axes), .dataRanks = mesh.data().size(), .dataRank = mesh.data().rank(), .bucketBytes = config.parallel.bucketBytesOn("cuda"), .onNote = onNote});
}

} // namespace telehelm::train
