// SPDX-License-Identifier: Apache-2.0
#include "daemon/corpus_facts.h"

#include <fstream>

#include <nlohmann/json.hpp>

namespace telehelm::daemon {

Result<std::vector<CorpusDomain>> readCorpusFacts(const std::filesystem::path& dir) {
    const std::filesystem::path file = dir / "manifest.json";
    std::ifstream in(file);
    if (!in)
        return fail(ErrorCode::FailedPrecondition,
                    "no corpus here (manifest.json is missing); prepare the demo corpus with `telehelm-data demo`, or name another folder in "
                    "[data] corpus",
                    dir.string());
    try {
        const nlohmann::json json = nlohmann::json::parse(in);
        std::vector<CorpusDomain> domains;
        for (const nlohmann::json& domain : json.at("domains")) {
            CorpusDomain made;
            made.name = domain.at("name");
            const nlohmann::json languages = domain.value("languages", nlohmann::json());
            if (languages.is_string())
                made.languages = languages;
            else
                for (const nlohmann::json& language : languages)
                    made.languages += (made.languages.empty() ? "" : ", ") + language.get<std::string>();
            made.trainTokens = domain.at("train").at("tokens");
            domains.push_back(std::move(made));
        }
        return domains;
    } catch (const nlohmann::json::exception& error) {
        return fail(ErrorCode::DataLoss,
                    std::string("cannot be read: ") + error.what() + "; prepare the corpus again with `telehelm-data demo`", file.string());
    }
}

} // namespace telehelm::daemon
