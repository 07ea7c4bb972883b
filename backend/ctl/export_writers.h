// SPDX-License-Identifier: Apache-2.0
// The formats of telehelmctl export. Each writes as it is fed and keeps nothing.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/result.h"

namespace telehelm::ctl {

/// Writes under a temporary name; finish() gives it its own. What is not finished is removed.
class ExportWriter {
public:
    virtual ~ExportWriter() = default;
    virtual Result<void> begin(const ipc::RunInfo& run) = 0;
    /// A stretch of raw points (buckets of one) of one attempt's series.
    virtual Result<void> points(const ipc::SeriesSegment& segment) = 0;
    [[nodiscard]] virtual bool wantsEvents() const { return false; }
    virtual Result<void> events(const std::vector<ipc::Event>& /*events*/, const std::vector<ipc::Command>& /*commands*/) { return {}; }
    virtual Result<void> finish(std::uint64_t points) = 0;
    [[nodiscard]] virtual std::filesystem::path target() const = 0;
};

/// `format`: csv, jsonl (a file) or tfevents (a folder). A folder as `out` gets RUN.csv, RUN.jsonl or RUN/. Refuses what exists.
[[nodiscard]] Result<std::unique_ptr<ExportWriter>> makeExportWriter(const std::string& format, const std::filesystem::path& out,
                                                                     const std::string& run);

} // namespace telehelm::ctl
