// SPDX-License-Identifier: Apache-2.0
#include "train/device_optimizer.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "train/step_engine.h"

namespace telehelm::train {

using Buffer = model::DeviceState::Buffer;

DeviceOptimizer::DeviceOptimizer(model::Model& model, const DeviceAxes& axes, const config::OptimizerConfig& config,
                                 bool sumsNorms, bool countsNorms)
    : m_state(*model.device()), m_axes(axes), m_config(config), m_countsAll(countsNorms) {
    const std::vector<model::ParameterInfo>& layout = model.layout();
    const std::int64_t end = layout.back().offset + layout.back().size, rank = m_axes.data != nullptr ? m_axes.data->rank() : 0;
    if (m_state.shardFrom() != m_state.shardSize() * rank)
        throw std::logic_error("optimizer: the model holds another data rank's shard");
    m_from = std::min(end, m_state.shardFrom());
    m_to = std::min(end, m_state.shardFrom() + m_state.shardSize());
    for (const model::ParameterInfo& info : layout) {
        const Stretch part{std::max(info.offset, m_from), std::min(info.offset + info.size, m_to)};
        if (part.from < part.to)
            m_pieces.push_back({part, info.matrixLike, info.shape.size() > 1, countsNorms || !info.replicatedOverTensor()});
        if (sumsNorms && info.replicatedOverTensor())
            m_norms.push_back({info.offset, info.offset + info.size});
    }
    m_updates.resize(m_pieces.size());
    m_state.makeMoments();
}

void DeviceOptimizer::reduceGradients() {
    float* const gradients = m_state.gradientData();
    for (const Stretch& norm : m_norms)
        m_axes.tensor->allReduce(gradients + norm.from, static_cast<std::size_t>(norm.to - norm.from), comm::DeviceType::Float,
                                 comm::Reduce::Sum, m_state.stream());
    if (m_axes.data == nullptr)
        return;
    const std::int64_t size = m_state.shardSize();
    m_axes.data->reduceScatter(gradients, gradients + m_state.shardFrom(), static_cast<std::size_t>(size),
                               comm::DeviceType::Float, m_state.stream());
    m_axes.data->wait(m_state.stream());
}

/// Weights that all tensor ranks hold are the first one's, but nobody may update them with what is not finite.
double DeviceOptimizer::ownSquares() {
    if (m_countsAll)
        return m_state.gradientSquares(m_from, m_to);
    double sum = 0;
    for (const Piece& piece : m_pieces) {
        const double squares = m_state.gradientSquares(piece.at.from, piece.at.to);
        sum += piece.isCounted ? squares : 0 * squares; // NaN where one of them is not finite
    }
    return sum;
}

void DeviceOptimizer::update(std::int64_t updates, const optim::Rates& rates, float gradScale) {
    const auto correction = [&](double beta) {
        return static_cast<float>(1.0 / (1.0 - std::pow(beta, static_cast<double>(updates))));
    };
    for (std::size_t i = 0; i < m_pieces.size(); ++i) {
        const Piece& piece = m_pieces[i];
        m_updates[i] = {.from = piece.at.from,
                        .to = piece.at.to,
                        .step = {.rate = static_cast<float>(piece.isMatrixLike ? rates.matrix : rates.vector),
                                 .decay = piece.decays ? static_cast<float>(m_config.weightDecay) : 0.0F,
                                 .beta1 = static_cast<float>(m_config.beta1),
                                 .beta2 = static_cast<float>(m_config.beta2),
                                 .epsilon = static_cast<float>(m_config.epsilon),
                                 .firstCorrection = correction(m_config.beta1),
                                 .secondCorrection = correction(m_config.beta2),
                                 .gradScale = gradScale}};
    }
    m_state.adamw(m_updates);
    gatherWeights();
}

void DeviceOptimizer::gatherWeights() {
    if (m_axes.data == nullptr)
        return;
    const std::int64_t size = m_state.shardSize();
    kernels::cuda::Bf16* const weights = m_state.weightData();
    m_axes.data->allGather(weights + m_state.shardFrom(), weights, static_cast<std::size_t>(size), comm::DeviceType::Bf16,
                           m_state.stream());
    m_state.weightsMoved();
    m_axes.data->wait(m_state.stream());
}

Shard DeviceOptimizer::shard() {
    const auto size = static_cast<std::size_t>(m_to - m_from);
    for (const auto& [buffer, host] :
         {std::pair{Buffer::Parameters, &m_parameters}, {Buffer::FirstMoment, &m_first}, {Buffer::SecondMoment, &m_second}}) {
        host->resize(size);
        m_state.download(buffer, m_from, *host);
    }
    m_handedOut = true;
    return {.from = m_from, .to = m_to, .parameters = m_parameters, .firstMoment = m_first, .secondMoment = m_second};
}

void DeviceOptimizer::takeShard() {
    if (m_handedOut)
        for (const auto& [buffer, host] :
             {std::pair{Buffer::Parameters, &m_parameters}, {Buffer::FirstMoment, &m_first}, {Buffer::SecondMoment, &m_second}})
            m_state.upload(buffer, m_from, *host);
    m_handedOut = false;
    gatherWeights();
}

} // namespace telehelm::train
