// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"
#include "model/transformer.h"

namespace telehelm::model {

namespace {

class CpuModel final : public Model {
public:
    CpuModel(const config::ModelConfig& shape, std::int64_t microBatch, int threads, const Placement& placement)
        : m_transformer(shape, microBatch, threads, placement) {}

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
    std::int64_t boundarySize(std::int64_t sequences) const override { return m_transformer.boundarySize(sequences); }
    std::span<float> partInput(int chunk, int slot) override { return m_transformer.partInput(chunk, slot); }
    std::span<float> partOutput(int chunk, int slot) override { return m_transformer.partOutput(chunk, slot); }
    std::span<float> boundaryGradient() override { return m_transformer.boundaryGradient(); }
    void forwardPart(int chunk, int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets) override {
        m_transformer.forwardPart(chunk, slot, inputs, targets);
    }
    double backwardPart(int chunk, int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                        float gradScale) override {
        return m_transformer.backwardPart(chunk, slot, inputs, targets, gradScale);
    }
    void evaluatePart(int slot, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                      std::span<float> nats) override {
        m_transformer.evaluatePart(slot, inputs, targets, nats);
    }
    std::size_t activationBytes() const override { return m_transformer.activationBytes(); }
    std::vector<TensorView> lastForward() const override { return m_transformer.lastForward(); }
    void onBackward(std::function<void()> turn) override { m_transformer.onBackward(std::move(turn)); }
    bool onWeights(WeightTurns turns) override {
        m_transformer.onWeights(std::move(turns));
        return true;
    }

private:
    Transformer<CpuOps> m_transformer;
};

} // namespace

std::unique_ptr<Model> makeCpuModel(const config::ModelConfig& shape, std::int64_t microBatch, int threads,
                                    const Placement& placement) {
    return std::make_unique<CpuModel>(shape, microBatch, threads, placement);
}

} // namespace telehelm::model
