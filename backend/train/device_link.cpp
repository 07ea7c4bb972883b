// SPDX-License-Identifier: Apache-2.0
#include "train/device_link.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "model/device_state.h"
#include "train/device_clock.h"
#include "train/stage_link.h"

namespace telehelm::train {
namespace {

namespace cuda = kernels::cuda;
using cuda::Bf16;

/// The first message connects the two; outside of a step nobody waits for it with something else to do.
void greet(DeviceWay& way, bool isSender) {
    const cuda::DeviceBuffer word(sizeof(float));
    cuda::fillBytes(word.data(), 0, word.bytes(), way.stream);
    if (isSender) {
        way.ranks->send(word.data(), word.bytes(), DeviceWay::kReceiver, way.stream);
    } else {
        way.ranks->recv(word.data(), word.bytes(), DeviceWay::kSender, way.stream);
    }
    way.ranks->wait(way.stream);
}

/// Null on stages that are neither.
std::unique_ptr<DeviceWay> makeWay(comm::Communicator& stages, int sender, int receiver, const char* what, const MakeDeviceRanks& make) {
    const bool isSender = stages.rank() == sender, isEnd = isSender || stages.rank() == receiver;
    std::unique_ptr<comm::Communicator> pair = stages.split(isEnd ? 0 : 1, isSender ? DeviceWay::kSender : stages.rank() + 1);
    if (!isEnd) {
        return nullptr;
    }
    auto way = std::make_unique<DeviceWay>();
    way->host = std::move(pair);
    way->ranks = make(*way->host, std::string("pipeline (") + what + " from stage " + std::to_string(sender) + " to " +
                                      std::to_string(receiver) + ")");
    greet(*way, isSender);
    return way;
}

class DeviceLink final : public StageLink {
public:
    DeviceLink(model::DeviceState& state, DeviceLinks& links, DeviceClock& clock, std::int64_t boundary, std::size_t buffers)
        : m_state(state), m_links(links), m_clock(clock), m_bytes(static_cast<std::size_t>(boundary) * sizeof(Bf16)), m_outgoing(buffers * m_bytes) {}

    void receiveInput(const parallel::Action& action, int slot, int) override {
        receive(*m_links.inputs, m_state.partInputData(action.chunk, slot));
    }
    void receiveGradient(const parallel::Action&, int) override { receive(*m_links.gradients, m_state.boundaryGradientData()); }
    int postOutput(const parallel::Action&, int chunk, int slot, int) override {
        return post(*m_links.outputs, m_state.partOutputData(chunk, slot));
    }
    int postGradient(const parallel::Action&, std::size_t buffer, int) override {
        keepGradient(buffer);
        return post(*m_links.outputGradients, ring(buffer));
    }
    /// The device waits, not the host.
    void settle(int ticket) override {
        const cuda::Event*& gone = m_sent[static_cast<std::size_t>(ticket)];
        m_clock.hold(Meter::CommPipeline, *gone);
        gone = nullptr;
    }

    void passOutput(int fromChunk, int fromSlot, int toChunk, int toSlot) override {
        copy(m_state.partInputData(toChunk, toSlot), m_state.partOutputData(fromChunk, fromSlot));
    }
    void keepGradient(std::size_t buffer) override { copy(ring(buffer), m_state.boundaryGradientData()); }
    void takeGradient(std::size_t buffer) override { copy(m_state.boundaryGradientData(), ring(buffer)); }

    [[nodiscard]] std::size_t bytes() const override { return m_outgoing.bytes(); }

private:
    [[nodiscard]] Bf16* ring(std::size_t buffer) const { return m_outgoing.as<Bf16>() + buffer * (m_bytes / sizeof(Bf16)); }
    void copy(Bf16* to, const Bf16* from) { cuda::copyOnDevice(to, from, m_bytes, m_state.stream()); }

    /// The host goes on; a dead neighbour is noticed where it next waits for the model's stream (CudaOptions::peers). From the
    /// moment that the device has nothing else to do until the message is there, is the bubble.
    void receive(DeviceWay& way, Bf16* into) {
        follow(way); // what is overwritten may still be read
        way.ranks->recv(into, m_bytes, DeviceWay::kSender, way.stream);
        m_clock.hold(Meter::Bubble, m_clock.mark(way.stream));
    }
    int post(DeviceWay& way, const Bf16* data) {
        follow(way);
        way.ranks->send(data, m_bytes, DeviceWay::kReceiver, way.stream);
        const auto place = static_cast<std::size_t>(std::ranges::find(m_sent, nullptr) - m_sent.begin());
        if (place == m_sent.size()) {
            m_sent.push_back(nullptr);
        }
        m_sent[place] = &m_clock.mark(way.stream);
        return static_cast<int>(place);
    }
    /// The way goes on when the model's stream has done what it was given.
    void follow(DeviceWay& way) {
        m_ready.record(m_state.stream());
        m_ready.holdUp(way.stream);
    }

    model::DeviceState& m_state;
    DeviceLinks& m_links;
    DeviceClock& m_clock;
    const std::size_t m_bytes; // of a boundary
    const cuda::DeviceBuffer m_outgoing;
    cuda::Event m_ready;
    std::vector<const cuda::Event*> m_sent; // by ticket: when it is gone; null: free
};

} // namespace

DeviceLinks makeDeviceLinks(comm::Communicator& stages, bool isRing, const MakeDeviceRanks& make) {
    DeviceLinks links;
    const int count = stages.size(), own = stages.rank();
    for (int stage = 0; count > 1 && stage < (isRing ? count : count - 1); ++stage) {
        const int next = (stage + 1) % count;
        if (auto way = makeWay(stages, stage, next, "activations", make)) {
            (own == stage ? links.outputs : links.inputs) = std::move(way);
        }
        if (auto way = makeWay(stages, next, stage, "gradients", make)) {
            (own == stage ? links.gradients : links.outputGradients) = std::move(way);
        }
    }
    return links;
}

std::unique_ptr<StageLink> makeDeviceLink(model::Model& model, DeviceLinks& links, DeviceClock& clock, std::int64_t boundary, std::size_t buffers) {
    if (model.device() == nullptr) {
        throw std::logic_error("pipeline: the model is on no device");
    }
    return std::make_unique<DeviceLink>(*model.device(), links, clock, boundary, buffers);
}

} // namespace telehelm::train
