// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <span>
#include <vector>

#include "train/stage_link.h"

namespace telehelm::train {
namespace {

class HostLink final : public StageLink {
public:
    HostLink(model::Model& model, comm::Communicator& stages, std::int64_t boundary, std::size_t buffers)
        : m_model(model), m_stages(stages), m_boundary(static_cast<std::size_t>(boundary)), m_outgoing(buffers * m_boundary) {}

    void receiveInput(const parallel::Action& action, int slot, int from) override {
        m_stages.recv(std::as_writable_bytes(m_model.partInput(action.chunk, slot)), from, parallel::messageTag(action));
    }
    void receiveGradient(const parallel::Action& action, int from) override {
        m_stages.recv(std::as_writable_bytes(m_model.boundaryGradient()), from, parallel::messageTag(action));
    }
    int postOutput(const parallel::Action& action, int chunk, int slot, int to) override {
        return m_stages.post(std::as_bytes(m_model.partOutput(chunk, slot)), to, parallel::messageTag(action));
    }
    int postGradient(const parallel::Action& action, std::size_t buffer, int to) override {
        keepGradient(buffer);
        return m_stages.post(std::as_bytes(part(buffer)), to, parallel::messageTag(action));
    }
    void settle(int ticket) override { m_stages.wait(ticket); }

    void passOutput(int fromChunk, int fromSlot, int toChunk, int toSlot) override {
        std::ranges::copy(m_model.partOutput(fromChunk, fromSlot), m_model.partInput(toChunk, toSlot).begin());
    }
    void keepGradient(std::size_t buffer) override { std::ranges::copy(m_model.boundaryGradient(), part(buffer).begin()); }
    void takeGradient(std::size_t buffer) override { std::ranges::copy(part(buffer), m_model.boundaryGradient().begin()); }

    [[nodiscard]] std::size_t bytes() const override { return m_outgoing.size() * sizeof(float); }

private:
    [[nodiscard]] std::span<float> part(std::size_t buffer) { return std::span(m_outgoing).subspan(buffer * m_boundary, m_boundary); }

    model::Model& m_model;
    comm::Communicator& m_stages;
    const std::size_t m_boundary;
    std::vector<float> m_outgoing; // gradients on their way
};

} // namespace

std::unique_ptr<StageLink> makeHostLink(model::Model& model, comm::Communicator& stages, std::int64_t boundary, std::size_t buffers) {
    return std::make_unique<HostLink>(model, stages, boundary, buffers);
}

} // namespace telehelm::train
