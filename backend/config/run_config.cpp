// SPDX-License-Identifier: Apache-2.0
#include "config/run_config.h"

#include <cstdlib>

namespace telehelm::config {

std::int64_t ModelConfig::parameterCount() const {
    const std::int64_t layer = 4 * hiddenSize * hiddenSize + 3 * hiddenSize * ffnHiddenSize + 2 * hiddenSize;
    return 2 * vocabSize * hiddenSize + layers * layer + hiddenSize;
}

double ModelConfig::flopsPerToken() const {
    const auto C = static_cast<double>(hiddenSize);
    const double layer = 4 * C * C + 3 * C * static_cast<double>(ffnHiddenSize);
    const double weights =
        static_cast<double>(layers) * layer + static_cast<double>(vocabSize) * C;                  // each: 2 forward, 4 backward
    const double attention = static_cast<double>(layers) * static_cast<double>(contextLength) * C; // QKᵀ and PV over T/2 keys
    return 6 * weights + 6 * attention;
}

std::string FaultsConfig::nanName() const {
    return nanIsInLayer() ? "layers." + std::to_string(nanLayer) + "." + nanTensor : nanTensor;
}

std::filesystem::path demoCorpusDir() {
    std::filesystem::path cache;
    if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg != '\0') {
        cache = xdg;
    } else if (const char* home = std::getenv("HOME"); home != nullptr) {
        cache = std::filesystem::path(home) / ".cache";
    }
    return cache / "telehelm" / "corpus" / "demo";
}

} // namespace telehelm::config
