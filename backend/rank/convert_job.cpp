// SPDX-License-Identifier: Apache-2.0
#include "rank/convert_job.h"

#include <spdlog/spdlog.h>

#include "config/run_config.h"
#include "exchange/hugging_face.h"
#include "rank/rank_job.h"
#include "train/checkpoint_store.h"
#include "train/file_io.h"

namespace telehelm::rank {

namespace fs = std::filesystem;

namespace {

Result<exchange::Transfer> exportTo(const RankOptions& options, const config::RunConfig& config) {
    Result<train::Chosen> chosen =
        train::chooseCheckpoint(options.checkpointDir, options.checkpoint.string(), 0, train::verifyCheckpoint);
    if (!chosen) {
        return tl::unexpected(chosen.error());
    }
    if (chosen->path.empty()) {
        return fail(ErrorCode::NotFound, "has no checkpoint; name one with --checkpoint", options.checkpointDir.string());
    }
    for (const train::Damage& damage : chosen->damaged) {
        spdlog::warn("{} is damaged ({}); the one before it is exported", damage.path.string(), damage.text);
    }
    spdlog::info("exporting step {} of {}", chosen->manifest.step, chosen->path.string());
    return exchange::exportHuggingFace(chosen->path, chosen->manifest, config.model, options.exportHf);
}

Result<exchange::Transfer> importFrom(const RankOptions& options, const config::RunConfig& config) {
    const Result<std::string> text = train::readWhole(options.config);
    if (!text) {
        return tl::unexpected(text.error());
    }
    const std::string hash = train::hexHash(train::xxh3(std::as_bytes(std::span(*text))));
    return exchange::importHuggingFace(options.importHf, config, hash, {options.run, options.attempt}, options.checkpointDir);
}

} // namespace

int runConvertJob(const RankOptions& given, int ranks) {
    if (ranks > 1) {
        spdlog::error("--export-hf and --import-hf work in one process; run them without mpirun, whatever the checkpoint's mesh");
        return kUsage;
    }
    const Result<config::RunConfig> config = config::loadRunConfig(given.config);
    if (!config) {
        spdlog::error("{}", config.error().text());
        return kUsage;
    }
    RankOptions options = given;
    fillFolders(options, *config);
    const bool out = !options.exportHf.empty();
    const Result<exchange::Transfer> transfer = out ? exportTo(options, *config) : importFrom(options, *config);
    if (!transfer) {
        spdlog::error("{}", transfer.error().text());
        return kCheckpoint;
    }
    spdlog::info("{} tensors, {} parameters written to {}{}", transfer->tensors, transfer->elements, transfer->folder.string(),
                 transfer->exact ? "" : "; the multipliers are no powers of 2, so embedding and head are rounded to fp32");
    return kFine;
}

} // namespace telehelm::rank
