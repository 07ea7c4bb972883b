// SPDX-License-Identifier: Apache-2.0
// Stragglers among ranks that have not all the same to do: the rule as arithmetic, and the report on ranks that sleep for their work.
#include <QtTest>

#include <chrono>
#include <thread>

#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

constexpr int kEven = 5, kSlow = 5, kOver = 6; // gathers
constexpr double kLightMs = 40, kHeavyMs = 82; // as measured with one and three layers: less uneven than planned

config::RunConfig unevenDemo(int tensor) {
    auto config = config::loadRunConfig(qEnvironmentVariable("TELEHELM_SOURCE").toStdString() + "/configs/demo_3d_cpu.toml");
    if (!config) {
        throw std::runtime_error(config.error().text());
    }
    config->parallel.tensor = tensor;
    config->parallel.layers = {1, 3};
    return *config;
}

double workMs(const parallel::Mesh& mesh, int slowRank, int gather) {
    const double healthy = mesh.own().pipeline == 0 ? kLightMs : kHeavyMs;
    const bool isSlow = mesh.world().rank() == slowRank && gather > kEven && gather <= kEven + kSlow;
    return isSlow ? 3 * healthy : healthy;
}

/// One step between two gathers.
void report(const config::RunConfig& config, comm::Communicator& world, ipc::TrainerLink* link, int slowRank) {
    const parallel::Mesh mesh(*parallel::MeshShape::make(config.parallel, world.size()), world);
    train::RankReport ranks(config.telemetry, mesh);
    ranks.expect(config);
    train::Telemetry telemetry(link, {"uneven", 1});
    for (int gather = 1; gather <= kEven + kSlow + kOver; ++gather) {
        train::StepWatch watch;
        watch.begin(gather);
        watch.enter(train::Phase::Forward);
        std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(workMs(mesh, slowRank, gather)));
        watch.end();
        ranks.add(watch);
        telemetry.at(gather, 0, "step");
        ranks.gather(telemetry);
    }
}

std::vector<ipc::Event> stragglers(const config::RunConfig& config, int slowRank) {
    RecordingLink link;
    std::vector<std::thread> threads;
    for (auto& world : comm::makeThreadCommunicators(config.parallel.ranks())) {
        threads.emplace_back([&, own = std::move(world)] { report(config, *own, own->rank() == 0 ? &link : nullptr, slowRank); });
    }
    std::ranges::for_each(threads, &std::thread::join);
    return link.eventsOf(ipc::EventKind::Note);
}

int changes(train::StragglerWatch& watch, const std::vector<double>& workMs) {
    int seen = 0;
    for (int gather = 0; gather < 5; ++gather) {
        seen += static_cast<int>(watch.gathered(workMs).size());
    }
    return seen;
}

} // namespace

class RankReportTest : public QObject {
    Q_OBJECT
private slots:
    void ranksAreComparedWithTheirPeers() {
        const config::TelemetryConfig rule; // 1.3 times in 3 of 5
        const std::vector<train::RankLoad> loads = {{0, 1}, {0, 1}, {1, 3}, {1, 3}};
        train::StragglerWatch even(rule, loads);
        QCOMPARE(changes(even, {20, 20, 41, 41}), 0);
        QCOMPARE(even.skew(), 0.0);
        QCOMPARE(changes(even, {20, 20, 41, 60}), 1); // beside rank 2
        train::StragglerWatch light(rule, loads);
        QCOMPARE(changes(light, {50, 20, 41, 41}), 0); // stage 1 does not wait for it
        QCOMPARE(changes(light, {60, 20, 41, 41}), 1);
        train::StragglerWatch stage(rule, loads);
        QCOMPARE(changes(stage, {20, 20, 130, 130}), 2); // more than three times as much as stage 0
        train::StragglerWatch unplanned(rule);
        QCOMPARE(changes(unplanned, {20, 20, 41, 41}), 2);
    }

    /// Alone in its stage, a rank must be above its plan and above the others.
    void aRankAloneIsWeighedByItsPlan() {
        const config::TelemetryConfig rule;
        const std::vector<train::RankLoad> loads = {{0, 1}, {1, 3}};
        for (const auto& [work, stragglers] : {std::pair{std::vector<double>{20, 41}, 0}, {std::vector<double>{20, 75}, 0},
                                               {std::vector<double>{20, 90}, 1}, {std::vector<double>{50, 41}, 0}, {std::vector<double>{60, 41}, 1}}) {
            train::StragglerWatch watch(rule, loads);
            QCOMPARE(changes(watch, work), stragglers);
        }
    }

    void unevenLayersMakeNoStraggler_data() {
        QTest::addColumn<int>("tensor");
        QTest::addColumn<int>("slow");
        QTest::newRow("tensor 2 x pipeline 2, heavy stage") << 2 << 3;
        QTest::newRow("tensor 2 x pipeline 2, light stage") << 2 << 0;
        QTest::newRow("pipeline 2, heavy stage") << 1 << 1;
    }
    void unevenLayersMakeNoStraggler() {
        QFETCH(int, tensor);
        QFETCH(int, slow);
        const std::vector<ipc::Event> events = stragglers(unevenDemo(tensor), slow);
        QCOMPARE(events.size(), std::size_t{2}); // with hysteresis
        QCOMPARE(events[0].facts.at("straggler"), std::string("begins"));
        QCOMPARE(events[0].facts.at("rank"), std::to_string(slow));
        QCOMPARE(events[0].step, std::int64_t{kEven + 3});
        QVERIFY2(events[0].text.find("at its peers' pace") != std::string::npos, events[0].text.c_str());
        QCOMPARE(events[1].facts.at("straggler"), std::string("over"));
        QCOMPARE(events[1].facts.at("rank"), std::to_string(slow));
        QVERIFY(events[1].step > kEven + kSlow);
    }
};

QTEST_GUILESS_MAIN(RankReportTest)
#include "tst_rank_report.moc"
