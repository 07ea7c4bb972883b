// SPDX-License-Identifier: Apache-2.0
#include "ctl/export_writers.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"
#include "ctl/tf_events.h"

namespace telehelm::ctl {

namespace fs = std::filesystem;

namespace {

/// A file or folder that takes its name only when it is whole.
class Draft {
public:
    explicit Draft(fs::path target) : m_target(std::move(target)), m_draft(m_target.string() + ".part") {}
    ~Draft() {
        std::error_code ignored;
        if (!m_finished)
            fs::remove_all(m_draft, ignored);
    }
    [[nodiscard]] const fs::path& path() const { return m_draft; }
    [[nodiscard]] const fs::path& target() const { return m_target; }
    [[nodiscard]] Error cannotWrite() const {
        return {ErrorCode::ResourceExhausted, std::string("cannot be written: ") + std::strerror(errno), m_draft.string()};
    }
    Result<void> finish() {
        std::error_code error;
        fs::rename(m_draft, m_target, error);
        if (error)
            return fail(ErrorCode::Internal, "cannot be given its name: " + error.message(), m_target.string());
        m_finished = true;
        return {};
    }

private:
    const fs::path m_target, m_draft;
    bool m_finished = false;
};

/// A draft that is one file.
class TextWriter : public ExportWriter {
public:
    explicit TextWriter(const fs::path& target) : m_draft(target), m_out(m_draft.path(), std::ios::binary) {}
    [[nodiscard]] fs::path target() const override { return m_draft.target(); }

protected:
    Result<void> written() {
        if (!m_out.good())
            return tl::unexpected(m_draft.cannotWrite());
        return {};
    }
    Result<void> close() {
        m_out.close();
        return m_out.fail() ? tl::unexpected(m_draft.cannotWrite()) : m_draft.finish();
    }
    Draft m_draft;
    std::ofstream m_out;
};

class CsvWriter final : public TextWriter {
public:
    using TextWriter::TextWriter;
    Result<void> begin(const ipc::RunInfo&) override {
        m_out << "run,attempt,superseded,name,step,tokens,wall_us,value\n";
        return written();
    }
    Result<void> points(const ipc::SeriesSegment& segment) override {
        const std::string head = csvField(segment.key.run) + "," + std::to_string(segment.key.attempt) + (segment.superseded ? ",1," : ",0,") +
                                 csvField(segment.name) + ",";
        for (const ipc::Bucket& b : segment.buckets)
            m_out << head << b.firstStep << ',' << b.firstTokens << ',' << b.firstWallUs << ',' << exactNumber(b.first) << '\n';
        return written();
    }
    Result<void> finish(std::uint64_t) override { return close(); }
};

class JsonLinesWriter final : public TextWriter {
public:
    using TextWriter::TextWriter;
    Result<void> begin(const ipc::RunInfo& run) override { return line("run", toJson(run)); }
    Result<void> points(const ipc::SeriesSegment& segment) override {
        const std::string head = "{\"type\":\"point\",\"attempt\":" + std::to_string(segment.key.attempt) +
                                 ",\"superseded\":" + (segment.superseded ? "true" : "false") + ",\"name\":" + Json(segment.name).dump() + ",\"step\":";
        for (const ipc::Bucket& b : segment.buckets) {
            const char* quote = std::isfinite(b.first) ? "" : "\""; // JSON has no numbers for these
            m_out << head << b.firstStep << ",\"tokens\":" << b.firstTokens << ",\"wall_us\":" << b.firstWallUs << ",\"value\":" << quote
                  << exactNumber(b.first) << quote << "}\n";
        }
        return written();
    }
    [[nodiscard]] bool wantsEvents() const override { return true; }
    Result<void> events(const std::vector<ipc::Event>& events, const std::vector<ipc::Command>& commands) override {
        for (const ipc::Event& event : events)
            (void)line("event", toJson(event));
        for (auto command = commands.rbegin(); command != commands.rend(); ++command) // oldest first
            (void)line("command", toJson(*command));
        return written();
    }
    Result<void> finish(std::uint64_t points) override {
        return line("end", {{"points", points}}).and_then([this] { return close(); });
    }

private:
    Result<void> line(const char* type, const Json& content) {
        Json json = {{"type", type}};
        json.update(content);
        m_out << json.dump() << '\n';
        return written();
    }
};

/// A folder with one event file per attempt: TensorBoard shows each as a run.
class TfEventsWriter final : public ExportWriter {
public:
    explicit TfEventsWriter(const fs::path& target) : m_draft(target) {
        std::error_code ignored; // shows when the first file cannot be opened
        fs::create_directories(m_draft.path(), ignored);
    }
    Result<void> begin(const ipc::RunInfo&) override { return {}; }
    Result<void> points(const ipc::SeriesSegment& segment) override {
        if (auto opened = open(segment.key.attempt); !opened)
            return opened;
        bool isFirst = m_tags.insert(segment.name).second;
        for (const ipc::Bucket& b : segment.buckets) {
            m_out << tfScalar(segment.name, b.firstStep, static_cast<double>(b.firstWallUs) / 1e6, b.first, isFirst);
            isFirst = false;
        }
        if (!m_out.good())
            return tl::unexpected(m_draft.cannotWrite());
        return {};
    }
    Result<void> finish(std::uint64_t) override { return close().and_then([this] { return m_draft.finish(); }); }
    [[nodiscard]] fs::path target() const override { return m_draft.target(); }

private:
    Result<void> open(std::uint32_t attempt) {
        if (attempt == m_attempt)
            return {};
        if (auto closed = close(); !closed)
            return closed;
        m_attempt = attempt;
        m_tags.clear();
        const double now = static_cast<double>(ipc::nowUs()) / 1e6;
        const fs::path folder = m_draft.path() / ("attempt-" + std::to_string(attempt));
        std::error_code ignored;
        fs::create_directories(folder, ignored);
        m_out.open(folder / ("events.out.tfevents." + std::to_string(static_cast<std::int64_t>(now)) + "." + hostName()), std::ios::binary);
        m_out << tfFileVersion(now);
        if (!m_out.good())
            return tl::unexpected(m_draft.cannotWrite());
        return {};
    }
    Result<void> close() {
        if (!m_out.is_open())
            return {};
        m_out.close();
        if (m_out.fail())
            return tl::unexpected(m_draft.cannotWrite());
        return {};
    }
    Draft m_draft;
    std::ofstream m_out;
    std::uint32_t m_attempt = 0;
    std::set<std::string> m_tags; // of the open file
};

} // namespace

Result<std::unique_ptr<ExportWriter>> makeExportWriter(const std::string& format, const fs::path& out, const std::string& run) {
    const bool isFolder = fs::is_directory(out) || !out.has_filename();
    const fs::path target = fs::absolute(!isFolder ? out : format == "tfevents" ? out / run : out / (run + "." + format));
    std::error_code error;
    if (fs::exists(target, error))
        return fail(ErrorCode::AlreadyExists, "exists already; remove it or give --out another name", target.string());
    fs::create_directories(target.parent_path(), error);
    if (error)
        return fail(ErrorCode::InvalidArgument, "the folder cannot be made: " + error.message(), target.parent_path().string());
    std::unique_ptr<ExportWriter> writer;
    if (format == "csv")
        writer = std::make_unique<CsvWriter>(target);
    else if (format == "jsonl")
        writer = std::make_unique<JsonLinesWriter>(target);
    else
        writer = std::make_unique<TfEventsWriter>(target);
    return writer;
}

} // namespace telehelm::ctl
