// SPDX-License-Identifier: Apache-2.0
// A run's config: any text is a config or an error with a sentence.
#include "config/run_config.h"
#include "fuzz_support.h"

using namespace telehelm;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const auto config = config::parseRunConfig(text, "fuzz.toml");
    fuzz::require(config.has_value() || !config.error().message.empty(), "a refused config says why");
    return 0;
}
