// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"
#include "model/transformer.h"

namespace telehelm::model {

namespace {

class CpuModel final : public Model {
public:
    CpuModel(const config::ModelConfig& shape, std::int64_t microBatch, int threads)
        : m_transformer(shape, microBatch, threads) {}

    const std::vector<ParameterInfo>& layout() const override { return m_transformer.layout(); }
    std::span<float> parameters() override { return m_transformer.parameters(); }
    std::span<float> gradients() override { return m_transformer.gradients(); }
    void initialise(std::uint64_t seed) override { m_transformer.initialise(seed); }
    double trainMicroBatch(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                           float gradScale) override {
        return m_transformer.trainMicroBatch(inputs, targets, gradScale);
    }
    void evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats) override {
        m_transformer.evaluate(inputs, targets, nats);
    }
    std::size_t activationBytes() const override { return m_transformer.activationBytes(); }
    std::vector<TensorView> lastForward() const override { return m_transformer.lastForward(); }
    void onBackward(std::function<void()> turn) override { m_transformer.onBackward(std::move(turn)); }

private:
    Transformer<CpuOps> m_transformer;
};

} // namespace

std::unique_ptr<Model> makeCpuModel(const config::ModelConfig& shape, std::int64_t microBatch, int threads) {
    return std::make_unique<CpuModel>(shape, microBatch, threads);
}

} // namespace telehelm::model
