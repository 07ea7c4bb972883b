// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"

namespace telehelm::ctl {
namespace {

void printCsvRows(std::ostream& out, const ipc::SeriesSegment& segment, bool raw) {
    const std::string head = csvField(segment.key.run) + "," + std::to_string(segment.key.attempt) + "," + csvField(segment.name) + ",";
    for (const ipc::Bucket& b : segment.buckets) {
        out << head;
        if (raw)
            out << b.firstStep << "," << b.firstTokens << "," << b.firstWallUs << "," << exactNumber(b.first) << "\n";
        else
            out << b.firstStep << "," << b.lastStep << "," << b.firstTokens << "," << b.lastTokens << "," << b.firstWallUs << ","
                << b.lastWallUs << "," << exactNumber(b.first) << "," << exactNumber(b.last) << "," << exactNumber(b.min) << ","
                << exactNumber(b.max) << "," << exactNumber(b.sum) << "," << b.count << "," << b.nonFinite << "\n";
    }
}

Json segmentJson(const ipc::SeriesSegment& segment, bool raw) {
    Json points = Json::array();
    for (const ipc::Bucket& b : segment.buckets) {
        Json point = {{"step", b.firstStep}, {"tokens", b.firstTokens}, {"wall_us", b.firstWallUs}, {"value", number(b.first)}};
        if (!raw)
            point = {{"first_step", b.firstStep},     {"last_step", b.lastStep},     {"first_tokens", b.firstTokens},
                     {"last_tokens", b.lastTokens},   {"first_wall_us", b.firstWallUs}, {"last_wall_us", b.lastWallUs},
                     {"first", number(b.first)},      {"last", number(b.last)},      {"min", number(b.min)},
                     {"max", number(b.max)},          {"sum", number(b.sum)},        {"count", b.count},
                     {"non_finite", b.nonFinite}};
        points.push_back(std::move(point));
    }
    return {{"run", segment.key.run}, {"attempt", segment.key.attempt}, {"name", segment.name}, {"superseded", segment.superseded}, {"points", points}};
}

int listSeries(const Call& call, Connected& daemon, const SeriesArguments& arguments) {
    const auto list = ipc::listAllSeries(*daemon.api, {arguments.run, arguments.attempt}, "*");
    if (!list)
        return complain(call, list.error());
    if (call.common.json) {
        call.terminal.out << toJson(*list).dump(2) << "\n";
        return kOk;
    }
    if (arguments.csv) {
        call.terminal.out << "run,attempt,name,points,first_step,last_step,latest\n";
        for (const ipc::SeriesInfo& s : *list)
            call.terminal.out << csvField(s.key.run) << "," << s.key.attempt << "," << csvField(s.name) << "," << s.points << ","
                              << s.firstStep << "," << s.lastStep << "," << exactNumber(s.latest) << "\n";
        return kOk;
    }
    Table table({"SERIES", "ATTEMPT", "POINTS", "STEPS", "LATEST"});
    for (const ipc::SeriesInfo& s : *list)
        table.add({s.name, std::to_string(s.key.attempt), withSeparators(static_cast<std::int64_t>(s.points)),
                   withSeparators(s.firstStep) + "…" + withSeparators(s.lastStep), shortNumber(s.latest, 6)});
    if (table.empty())
        call.terminal.out << arguments.run << " has no points yet\n";
    else
        table.print(call.terminal.out, call.terminal.hasColour);
    return kOk;
}

void printPlain(std::ostream& out, const ipc::SeriesSegment& segment) {
    for (const ipc::Bucket& b : segment.buckets)
        out << segment.name << "  step " << b.firstStep << (b.lastStep != b.firstStep ? "…" + std::to_string(b.lastStep) : "") << "  "
            << shortNumber(b.last, 6) << (b.count > 1 ? "  (" + shortNumber(b.min, 6) + "…" + shortNumber(b.max, 6) + ")" : "") << "\n";
}

} // namespace

int series(const Call& call, const SeriesArguments& arguments) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        if (arguments.names.empty())
            return listSeries(call, daemon, arguments);
        ipc::SeriesQuery query;
        query.key = {arguments.run, arguments.attempt};
        query.names = arguments.names;
        query.from = arguments.from;
        query.to = arguments.to;
        query.maxBuckets = arguments.buckets;
        query.includeSuperseded = arguments.includeSuperseded;
        const bool raw = arguments.buckets == 0;
        Json segments = Json::array();
        std::size_t rows = 0;
        const auto done = daemon.api->querySeries(query, [&](ipc::SeriesSegment&& segment) {
            if (arguments.csv && rows == 0 && !segment.buckets.empty())
                call.terminal.out << (raw ? "run,attempt,name,step,tokens,wall_us,value\n"
                                          : "run,attempt,name,first_step,last_step,first_tokens,last_tokens,first_wall_us,last_wall_us,first,"
                                            "last,min,max,sum,count,non_finite\n");
            rows += segment.buckets.size();
            if (call.common.json)
                segments.push_back(segmentJson(segment, raw));
            else if (arguments.csv)
                printCsvRows(call.terminal.out, segment, raw);
            else
                printPlain(call.terminal.out, segment);
            return call.terminal.out.good();
        });
        if (!done)
            return complain(call, done.error());
        if (call.common.json)
            call.terminal.out << segments.dump(2) << "\n";
        if (rows > 0)
            return kOk;
        return complain(call, {ErrorCode::NotFound,
                               "no points of “" + arguments.names.front() + "” in that range; “telehelmctl series " + arguments.run +
                                   "” lists the series there are",
                               arguments.run});
    });
}

} // namespace telehelm::ctl
