// SPDX-License-Identifier: Apache-2.0
// telehelmctl export: a whole run as CSV, JSON lines or TensorBoard's event files, piece by piece, and counted at the end.
#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <ostream>

#include "ctl/commands.h"
#include "ctl/export_writers.h"
#include "ctl/format.h"
#include "ctl/json_text.h"
#include "telehelm/ipc/series_filter.h"

namespace telehelm::ctl {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::uint64_t kPiece = 1 << 16; // points in memory at a time, more or less
constexpr std::size_t kNamesPerCall = 1024;
constexpr std::int64_t kFirst = std::numeric_limits<std::int64_t>::min(), kLast = std::numeric_limits<std::int64_t>::max();

/// What the export is, and what it has done. One thread.
class Export {
public:
    Export(const Call& call, ipc::ControlApi& api, const ExportArguments& arguments) : m_call(call), m_api(api), m_arguments(arguments) {}

    Result<void> run() {
        auto info = m_api.getRun(m_arguments.run);
        if (!info)
            return tl::unexpected(info.error());
        auto writer = makeExportWriter(m_arguments.format, m_arguments.out, m_arguments.run);
        if (!writer)
            return tl::unexpected(writer.error());
        m_writer = std::move(*writer);
        for (const ipc::AttemptInfo& attempt : info->attempts)
            if (auto listed = list(attempt.key, m_before); !listed)
                return listed;
        if (m_before.empty())
            return fail(ErrorCode::NotFound, "has no points" + std::string(m_arguments.series.empty() ? " yet" : " in such series") +
                                                 "; “telehelmctl series " + m_arguments.run + "” lists what there is", m_arguments.run);
        for (const auto& [key, count] : m_before)
            m_expected += count.points;
        if (auto begun = m_writer->begin(*info); !begun)
            return begun;
        for (const ipc::AttemptInfo& attempt : info->attempts)
            if (auto done = exportAttempt(attempt.key); !done)
                return done;
        if (m_writer->wantsEvents())
            if (auto done = exportEvents(); !done)
                return done;
        std::map<Key, Count> after;
        for (const ipc::AttemptInfo& attempt : info->attempts)
            if (auto listed = list(attempt.key, after); !listed)
                return listed;
        return check(after).and_then([this] { return m_writer->finish(m_written); });
    }
    void tell() const {
        std::ostream& out = m_call.terminal.out;
        if (m_call.common.json) {
            out << Json{{"run", m_arguments.run}, {"format", m_arguments.format}, {"path", m_writer->target().string()},
                        {"points", m_written}, {"points_stored", m_stored}, {"superseded_left_out", m_leftOut}, {"series", m_before.size()}}.dump(2) << "\n";
            return;
        }
        out << m_writer->target().string() << ": " << text(m_written) << " points of " << text(m_before.size()) << " series";
        if (m_leftOut > 0)
            out << ", without " << text(m_leftOut) << " that restarts discarded (--attempts all takes them too)";
        out << "; the store holds " << text(m_stored) << (m_stored > m_written + m_leftOut ? ", the rest came meanwhile" : "") << "\n";
    }

private:
    using Key = std::pair<std::uint32_t, std::string>; // attempt, series
    struct Count {
        std::uint64_t points = 0;
        std::int64_t firstStep = 0, lastStep = 0;
    };
    static std::string text(std::uint64_t count) { return withSeparators(static_cast<std::int64_t>(count)); }

    Result<void> list(const ipc::AttemptKey& key, std::map<Key, Count>& to) {
        const auto& globs = m_arguments.series;
        const ipc::SeriesFilter filter(globs);
        auto all = ipc::listAllSeries(m_api, key, globs.size() == 1 ? globs.front() : "");
        if (!all)
            return tl::unexpected(all.error());
        for (const ipc::SeriesInfo& s : *all)
            if (s.key.attempt == key.attempt && filter.matches(s.name) && s.points > 0)
                to[{key.attempt, s.name}] = {s.points, s.firstStep, s.lastStep};
        return {};
    }

    /// Small series together, long ones in stretches of steps, so that a piece is never much longer than kPiece.
    Result<void> exportAttempt(const ipc::AttemptKey& key) {
        std::vector<std::string> together;
        std::uint64_t points = 0;
        const auto flush = [&]() -> Result<void> {
            points = 0;
            return together.empty() ? Result<void>() : fetch(key, std::exchange(together, {}), kFirst, kLast);
        };
        for (auto at = m_before.lower_bound({key.attempt, ""}); at != m_before.end() && at->first.first == key.attempt; ++at) {
            if (at->second.points > kPiece) {
                if (auto done = exportLong(key, at->first.second, at->second); !done)
                    return done;
                continue;
            }
            if (points + at->second.points > kPiece || together.size() >= kNamesPerCall)
                if (auto done = flush(); !done)
                    return done;
            together.push_back(at->first.second);
            points += at->second.points;
        }
        return flush();
    }

    Result<void> exportLong(const ipc::AttemptKey& key, const std::string& name, const Count& count) {
        const double span = static_cast<double>(count.lastStep) - static_cast<double>(count.firstStep) + 1;
        auto width = static_cast<std::int64_t>(std::clamp(span * static_cast<double>(kPiece) / static_cast<double>(count.points), 1.0, 1e15));
        std::int64_t from = kFirst, to = count.firstStep;
        while (true) {
            to = to < count.lastStep - width ? to + width : kLast; // steps before the first or after the last one are possible
            const std::uint64_t before = m_read;
            if (auto done = fetch(key, {name}, from, to); !done)
                return done;
            if (to == kLast)
                return {};
            from = to + 1;
            if (m_read - before > 2 * kPiece)
                width = std::max<std::int64_t>(1, width / 2);
        }
    }

    Result<void> fetch(const ipc::AttemptKey& key, std::vector<std::string> names, std::int64_t from, std::int64_t to) {
        ipc::SeriesQuery query;
        query.key = key;
        query.names = std::move(names);
        query.from = from;
        query.to = to;
        query.maxBuckets = 0;
        query.includeSuperseded = true;
        Result<void> written;
        auto done = m_api.querySeries(query, [&](ipc::SeriesSegment&& segment) {
            if (!m_before.contains({segment.key.attempt, segment.name})) // a name with a star in it means others, too
                return true;
            const std::uint64_t points = segment.buckets.size();
            m_read += points;
            m_counts[{segment.key.attempt, segment.name}] += points;
            if (segment.superseded && !m_arguments.allAttempts) {
                m_leftOut += points;
                return true;
            }
            m_written += points;
            written = m_writer->points(segment);
            return written.has_value();
        });
        progress();
        return written ? done : written;
    }

    Result<void> exportEvents() {
        auto events = m_api.listEvents({m_arguments.run, 0, 0});
        if (!events)
            return tl::unexpected(events.error());
        auto commands = m_api.listCommands({m_arguments.run, 0, 0});
        if (!commands)
            return tl::unexpected(commands.error());
        return m_writer->events(*events, *commands);
    }

    /// Every series must have given at least what was stored when we began, and no more than is stored now.
    Result<void> check(const std::map<Key, Count>& after) {
        std::string wrong;
        std::size_t count = 0;
        for (const auto& [key, before] : m_before) {
            const std::uint64_t got = m_counts[key];
            const auto now = after.find(key);
            const std::uint64_t most = now == after.end() ? 0 : now->second.points;
            m_stored += most;
            if (got >= before.points && got <= most)
                continue;
            if (++count == 1)
                wrong = "“" + key.second + "” of attempt " + std::to_string(key.first) + " gave " + text(got) + " points, the store holds " + text(most);
        }
        if (count == 0)
            return {};
        return fail(ErrorCode::DataLoss, std::to_string(count) + " series did not come whole, nothing is kept of the export: " + wrong +
                                             "; “telehelmd check” looks for damage in the store", m_arguments.run);
    }

    void progress() {
        const auto now = Clock::now();
        if (now < m_nextWord)
            return;
        const double seconds = std::chrono::duration<double>(now - m_began).count();
        const bool isTty = m_call.terminal.isTty;
        m_nextWord = now + (isTty ? 500ms : 5000ms);
        m_call.terminal.err << (isTty ? "\r\033[K" : "") << "telehelmctl: " << m_arguments.run << ": "
                            << percentText(std::min(1.0, static_cast<double>(m_read) / static_cast<double>(m_expected))) << ", " << text(m_read) << " of "
                            << text(m_expected) << " points, " << shortNumber(static_cast<double>(m_read) / std::max(seconds, 1e-3), 3) << " points/s"
                            << (isTty ? "" : "\n") << std::flush;
        m_hasLine = isTty;
    }

public:
    void endProgress() const {
        if (m_hasLine)
            m_call.terminal.err << "\r\033[K" << std::flush;
    }

private:
    const Call& m_call;
    ipc::ControlApi& m_api;
    const ExportArguments& m_arguments;
    std::unique_ptr<ExportWriter> m_writer;
    std::map<Key, Count> m_before;
    std::map<Key, std::uint64_t> m_counts; // points that came
    std::uint64_t m_expected = 0, m_read = 0, m_written = 0, m_leftOut = 0, m_stored = 0;
    const Clock::time_point m_began = Clock::now();
    Clock::time_point m_nextWord = m_began + 1s;
    bool m_hasLine = false;
};

} // namespace

int exportRun(const Call& call, const ExportArguments& arguments) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        Export job(call, *daemon.api, arguments);
        const auto done = job.run();
        job.endProgress();
        if (!done)
            return complain(call, done.error());
        job.tell();
        return kOk;
    });
}

} // namespace telehelm::ctl
