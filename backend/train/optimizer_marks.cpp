// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer_marks.h"

#include <array>
#include <charconv>

namespace telehelm::train {
namespace {

/// The shortest text that reads back as the same number.
std::string numberText(double value) {
    std::array<char, 32> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}

} // namespace

OptimizerMarks optimizerMarks(const config::RunConfig& config) {
    const config::OptimizerConfig& o = config.optimizer;
    return {.values = {{"learning_rate", o.learningRate},
                       {"matrix_learning_rate", o.matrixLearningRate},
                       {"minimum_learning_rate", o.minimumLearningRate},
                       {"beta1", o.beta1},
                       {"beta2", o.beta2},
                       {"epsilon", o.epsilon},
                       {"weight_decay", o.weightDecay},
                       {"clip_grad", o.clipGrad},
                       {"warmup_steps", static_cast<double>(config.schedule.warmupSteps)},
                       {"tokens", static_cast<double>(config.schedule.tokens)}},
            .schedule = config.schedule.type};
}

std::vector<SettingChange> changesOf(const OptimizerMarks& then, const OptimizerMarks& now) {
    std::vector<SettingChange> changes;
    for (const auto& [key, value] : then.values) {
        if (const auto own = now.values.find(key); own != now.values.end() && own->second != value) {
            changes.push_back({key, numberText(value), numberText(own->second)});
        }
    }
    if (!then.values.empty() && then.schedule != now.schedule) {
        changes.push_back({"type", then.schedule, now.schedule});
    }
    return changes;
}

} // namespace telehelm::train
