// SPDX-License-Identifier: Apache-2.0
// /metrics: OpenMetrics 1.0 by its own grammar, numbers that are those of the status, and a server for this machine alone.
#include <map>
#include <regex>
#include <set>

#include <QTest>

#include <httplib.h>

#include "daemon/metrics_server.h"
#include "daemon/open_metrics.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

/// What a scraper reads: sample name with its labels → value. An empty `problem` means that the text is valid.
struct Parsed {
    std::map<std::string, double> samples;
    std::map<std::string, std::string> types;
    std::string problem;
};

/// A sample's name without its type's suffix belongs to the family before it.
std::string checkSample(Parsed& out, const std::string& line, const std::string& family) {
    static const std::regex sample(R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?))re");
    std::smatch match;
    if (!std::regex_match(line, match, sample))
        return "no sample: " + line;
    const std::string type = out.types[family];
    if (match[1].str() != family + (type == "counter" ? "_total" : type == "info" ? "_info" : ""))
        return "not of the family " + family + ": " + line;
    if (!out.samples.emplace(match[1].str() + match[2].str(), std::stod(match[3])).second)
        return "twice: " + line;
    return {};
}

std::string checkComment(Parsed& out, const std::string& line, std::string& family) {
    static const std::regex comment(R"(# (TYPE|UNIT|HELP) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+))");
    std::smatch match;
    if (!std::regex_match(line, match, comment))
        return "no comment of this format: " + line;
    const std::string word = match[1], name = match[2], rest = match[3];
    if (word == "TYPE") {
        static const std::set<std::string> kTypes = {"counter", "gauge", "info"};
        if (!kTypes.contains(rest) || !out.types.emplace(name, rest).second)
            return "unknown type, or the family comes twice: " + line;
        family = name;
    } else if (name != family) {
        return "of another family than the one that began: " + line;
    } else if (word == "UNIT" && !name.ends_with("_" + rest)) {
        return "the name must end in its unit: " + line;
    }
    return {};
}

Parsed parse(const std::string& text) {
    Parsed out;
    if (!text.ends_with("\n# EOF\n")) {
        out.problem = "does not end in # EOF";
        return out;
    }
    std::istringstream lines(text.substr(0, text.size() - 6));
    std::string family;
    for (std::string line; out.problem.empty() && std::getline(lines, line);)
        out.problem = line.starts_with('#') ? checkComment(out, line, family) : checkSample(out, line, family);
    return out;
}

DaemonStatus status() {
    DaemonStatus s;
    s.daemon.program = "telehelmd 0.1.0";
    s.daemon.startedUs = 1'700'000'000'500'000;
    s.nowUs = 1'700'000'010'000'000;
    s.runs = {{"demo", 80, 79, 78, 77, 76, 1, s.nowUs - 2'500'000}, {"odd \"name\"\\\n", 1, 1, 1, 0, 0, 0, 0}};
    s.clients = {{"c-1", "telehelm 0.1.0", "bridge", "唐", 70, 7, 6, 1, 2, s.nowUs - 250'000, s.nowUs}};
    s.subscriptions = 3;
    s.messagesPublished = 12'345'678'901;
    s.badFrames = 5;
    s.residentBytes = 50'000'000;
    s.storeBytes = 1;
    s.storeTrouble = "disk full";
    return s;
}

} // namespace

class TestMetrics : public QObject {
    Q_OBJECT
private slots:
    void theTextIsOpenMetrics() {
        Parsed got = parse(daemon::openMetrics(status()));
        QVERIFY2(got.problem.empty(), got.problem.c_str());
        QCOMPARE(got.types["telehelm_run_emitted_points"], std::string("counter"));
        QCOMPARE(got.samples["telehelm_run_emitted_points_total{run=\"demo\"}"], 80.0);
        QCOMPARE(got.samples["telehelm_run_stored_points_total{run=\"demo\"}"], 79.0);
        QCOMPARE(got.samples["telehelm_run_acked_points_total{run=\"demo\"}"], 78.0);
        QCOMPARE(got.samples["telehelm_run_published_points_total{run=\"demo\"}"], 77.0);
        QCOMPARE(got.samples["telehelm_run_lost_points{run=\"demo\"}"], 1.0);
        QCOMPARE(got.samples["telehelm_run_newest_point_age_seconds{run=\"demo\"}"], 2.5);
        QVERIFY(got.samples.contains("telehelm_run_stored_points_total{run=\"odd \\\"name\\\"\\\\\\n\"}"));
        QVERIFY(!got.samples.contains("telehelm_run_newest_point_age_seconds{run=\"odd \\\"name\\\"\\\\\\n\"}")); // unknown is not 0
        const std::string client = "{client=\"c-1\",program=\"telehelm 0.1.0\",host=\"bridge\",user=\"唐\"}";
        QCOMPARE(got.samples["telehelm_client_received_points_total" + client], 70.0);
        QCOMPARE(got.samples["telehelm_client_missed_points_total" + client], 7.0);
        QCOMPARE(got.samples["telehelm_client_repaired_points_total" + client], 6.0);
        QCOMPARE(got.samples["telehelm_client_lost_points" + client], 1.0);
        QCOMPARE(got.samples["telehelm_client_newest_point_age_seconds" + client], 0.25);
        QCOMPARE(got.samples["telehelm_live_messages_total"], 12'345'678'901.0);
        QCOMPARE(got.samples["telehelm_store_refusing"], 1.0);
        QCOMPARE(got.samples["telehelm_start_time_seconds"], 1'700'000'000.5);
    }

    void nothingYetIsValidToo() {
        const Parsed got = parse(daemon::openMetrics({}));
        QVERIFY2(got.problem.empty(), got.problem.c_str());
    }

    void theParserFindsFaults() { // else the tests above would say nothing
        for (const char* bad : {"", "a 1\n# EOF", "# TYPE a counter\na 1\n# EOF\n", "# TYPE a_x gauge\n# UNIT a_x seconds\na_x 1\n# EOF\n",
                                "# TYPE a gauge\na 1\na 2\n# EOF\n", "# TYPE a gauge\na{x=\"\"\"} 1\n# EOF\n", "# TYPE a gauge\na NaN?\n# EOF\n"})
            QVERIFY2(!parse(bad).problem.empty(), bad);
    }

    void theServerAnswersOnLoopbackAlone() {
        auto server = daemon::serveMetrics(0, [] { return Result<DaemonStatus>(status()); });
        QVERIFY2(server.has_value(), server ? "" : server.error().text().c_str());
        httplib::Client client("127.0.0.1", (*server)->port());
        const auto answer = client.Get("/metrics");
        QVERIFY(answer);
        QCOMPARE(answer->status, 200);
        QCOMPARE(answer->get_header_value("Content-Type"), std::string("application/openmetrics-text; version=1.0.0; charset=utf-8"));
        const Parsed got = parse(answer->body);
        QVERIFY2(got.problem.empty(), got.problem.c_str());
        QCOMPARE(client.Get("/nothing")->status, 404);
        const auto second = daemon::serveMetrics((*server)->port(), [] { return Result<DaemonStatus>(status()); });
        QVERIFY(!second && second.error().text().find("--metrics-port") != std::string::npos);
        // Another address of this machine finds nobody.
        httplib::Client other("127.0.0.2", (*server)->port());
        QVERIFY(!other.Get("/metrics"));
    }

    void aDaemonInTroubleSaysSo() {
        auto server = daemon::serveMetrics(0, []() -> Result<DaemonStatus> { return fail(ErrorCode::DataLoss, "the store is damaged"); });
        httplib::Client client("127.0.0.1", (*server)->port());
        const auto answer = client.Get("/metrics");
        QVERIFY(answer && answer->status == 503 && answer->body.find("damaged") != std::string::npos);
    }
};

QTEST_GUILESS_MAIN(TestMetrics)
#include "tst_metrics.moc"
