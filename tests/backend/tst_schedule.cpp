// SPDX-License-Identifier: Apache-2.0
#include <QtTest>

#include <map>
#include <numeric>
#include <set>

#include "parallel/partition.h"
#include "parallel/schedule.h"

using namespace telehelm;
using namespace telehelm::parallel;

namespace {

using Lists = std::vector<std::vector<Action>>;
using enum ActionKind;
using enum ScheduleKind;

std::string errorOf(const auto& result) {
    return result ? std::string() : result.error().text();
}

std::string listText(const std::vector<Action>& list) {
    std::string text;
    for (const Action& action : list) {
        text += action.kind == Forward ? 'F' : action.kind == Backward ? 'B' : 'W';
        text += std::to_string(action.microBatch) +
                (action.chunk > 0 ? std::string(1, static_cast<char>('a' + action.chunk)) : "") + " ";
    }
    return text;
}

/// Counted here without the checker: every (micro-batch, chunk) exactly once in each kind.
bool isComplete(const std::vector<Action>& list, int microBatches, int chunks, bool splits) {
    std::map<ActionKind, std::multiset<std::pair<int, int>>> seen;
    for (const Action& action : list) {
        seen[action.kind].insert({action.microBatch, action.chunk});
    }
    std::multiset<std::pair<int, int>> all;
    for (int microBatch = 0; microBatch < microBatches; ++microBatch) {
        for (int chunk = 0; chunk < chunks; ++chunk) {
            all.insert({microBatch, chunk});
        }
    }
    return seen[Forward] == all && seen[Backward] == all && (splits ? seen[WeightGrad] == all : seen[WeightGrad].empty());
}

} // namespace

class ScheduleTest : public QObject {
    Q_OBJECT
private slots:
    /// Written out by hand from the papers' figures.
    void knownSchedules() {
        const auto list = [](ScheduleKind kind, int stages, int stage, int m, int chunks) {
            return listText(makeSchedule(kind, stages, stage, m, chunks).value());
        };
        QCOMPARE(list(OneForwardOneBackward, 1, 0, 2, 1), "F0 B0 F1 B1 ");
        QCOMPARE(list(OneForwardOneBackward, 3, 0, 4, 1), "F0 F1 F2 B0 F3 B1 B2 B3 ");
        QCOMPARE(list(OneForwardOneBackward, 3, 1, 4, 1), "F0 F1 B0 F2 B1 F3 B2 B3 ");
        QCOMPARE(list(OneForwardOneBackward, 3, 2, 4, 1), "F0 B0 F1 B1 F2 B2 F3 B3 ");
        QCOMPARE(list(OneForwardOneBackward, 4, 0, 1, 1), "F0 B0 ");
        QCOMPARE(list(Interleaved, 2, 0, 2, 2), "F0 F1 F0b F1b B0b B1b B0 B1 ");
        QCOMPARE(list(Interleaved, 2, 1, 4, 2), "F0 F1 F0b B0b F1b B1b F2 B0 F3 B1 F2b B2b F3b B3b B2 B3 ");
        QCOMPARE(list(ZeroBubble, 2, 1, 3, 1), "F0 B0 F1 B1 W0 F2 B2 W1 W2 ");
    }

    void everySchedule_data() {
        QTest::addColumn<int>("stages");
        for (int stages = 1; stages <= 8; ++stages) {
            QTest::addRow("%d stages", stages) << stages;
        }
    }
    void everySchedule() {
        QFETCH(int, stages);
        for (int m = 1; m <= 16; ++m) {
            for (int chunks = 1; chunks <= 4; ++chunks) {
                const ScheduleKind kind = chunks == 1 ? OneForwardOneBackward : Interleaved;
                const auto lists = makeSchedules(kind, stages, m, chunks);
                if (chunks > 1 && m % stages != 0) {
                    QVERIFY(!lists);
                    continue;
                }
                QVERIFY2(lists, errorOf(lists).c_str());
                for (const auto& list : *lists) {
                    QVERIFY(isComplete(list, m, chunks, false));
                }
                for (const double backward : {1.0, 2.0, 3.0}) {
                    const auto report = checkSchedule(*lists, m, chunks, {.forward = 1, .backward = backward, .parts = {}});
                    QVERIFY2(report, errorOf(report).c_str());
                    const double bubble = (stages - 1.0) / (chunks * m + stages - 1.0);
                    QVERIFY2(std::abs(report->bubbleShare - bubble) < 1e-9, qPrintable(QString("p %1 m %2 c %3 b %4: %5, not %6")
                                                                                           .arg(stages)
                                                                                           .arg(m)
                                                                                           .arg(chunks)
                                                                                           .arg(backward)
                                                                                           .arg(report->bubbleShare)
                                                                                           .arg(bubble)));
                }
                const auto report = checkSchedule(*lists, m, chunks);
                for (int stage = 0; stage < stages; ++stage) {
                    const int inFlight = chunks == 1 ? stages - stage : 2 * (stages - stage - 1) + (chunks - 1) * stages + 1;
                    QCOMPARE(report->stages[static_cast<std::size_t>(stage)].peakActivations, std::min(m * chunks, inFlight));
                }
            }
        }
    }

    void zeroBubbleKeepsTheMemoryAndFillsTheGaps() {
        for (int stages = 1; stages <= 6; ++stages) {
            for (int m = 1; m <= 16; ++m) {
                const auto lists = makeSchedules(ZeroBubble, stages, m, 1);
                const auto report = checkSchedule(*lists, m, 1);
                QVERIFY2(report, errorOf(report).c_str());
                const auto plain = checkSchedule(*makeSchedules(OneForwardOneBackward, stages, m, 1), m, 1);
                QVERIFY(report->length <= plain->length + 1e-9);
                for (int stage = 0; stage < stages; ++stage) {
                    QVERIFY(isComplete((*lists)[static_cast<std::size_t>(stage)], m, 1, true));
                    QVERIFY(report->stages[static_cast<std::size_t>(stage)].peakActivations <= stages);
                }
                if (m >= 2 * stages) { // forward, input gradient and weight gradient alike: a third of 1F1B's idle time
                    QVERIFY(std::abs(report->length - (3.0 * m + stages - 1)) < 1e-9);
                }
            }
        }
    }

    void unevenPartsLengthenTheBubble() {
        const auto lists = makeSchedules(OneForwardOneBackward, 2, 8, 1);
        const auto even = checkSchedule(*lists, 8, 1), uneven = checkSchedule(*lists, 8, 1, {.parts = {0.8, 1.2}});
        QVERIFY(even && uneven);
        // The slow stage works all the time but for the first forward and last backward of the fast one.
        QVERIFY(std::abs(uneven->length - (8 * 3 * 1.2 + 3 * 0.8)) < 1e-9);
        QVERIFY(uneven->bubbleShare > even->bubbleShare);
        QVERIFY(!checkSchedule(*lists, 8, 1, {.parts = {1.0}}));
    }

    void blockingSendsDeadlock() {
        const auto lists = makeSchedules(OneForwardOneBackward, 2, 4, 1);
        QVERIFY(checkSchedule(*lists, 4, 1, {}, Delivery::Posted));
        QCOMPARE(errorOf(checkSchedule(*lists, 4, 1, {}, Delivery::Rendezvous)),
                 "pipeline schedule: deadlock: stage 0, action 1 (forward of micro-batch 1, chunk 0) waits until stage 1 takes "
                 "what it "
                 "sends; stage 1, action 1 (backward of micro-batch 0, chunk 0) waits until stage 0 takes what it sends");
        // All forwards, then all backwards: sends flow one way at a time, so even blocking ones get through.
        Lists inPhases(2);
        for (auto& list : inPhases) {
            for (const ActionKind kind : {Forward, Backward}) {
                for (int m = 0; m < 4; ++m) {
                    list.push_back({kind, m, 0});
                }
            }
        }
        const auto report = checkSchedule(inPhases, 4, 1, {}, Delivery::Rendezvous);
        QVERIFY2(report, errorOf(report).c_str());
        QCOMPARE(report->stages[0].peakActivations, 4); // what 1F1B is for
    }

    void plantedFaultsAreCaught_data() {
        QTest::addColumn<int>("stage");
        QTest::addColumn<int>("place");
        QTest::addColumn<QString>("what");
        QTest::addColumn<QString>("says");
        // 2 stages, 4 micro-batches: stage 0 "F0 F1 B0 F2 B1 F3 B2 B3", stage 1 "F0 B0 F1 B1 F2 B2 F3 B3"
        QTest::newRow("lost") << 1 << 5 << "erase"
                              << "pipeline schedule: stage 1 never does the backward of micro-batch 2, chunk 0";
        QTest::newRow("twice")
            << 0 << 4 << "repeat"
            << "pipeline schedule: stage 0, action 5 (backward of micro-batch 1, chunk 0) is there a second time";
        QTest::newRow("too early")
            << 1 << 0 << "swap"
            << "pipeline schedule: stage 1, action 0 (backward of micro-batch 0, chunk 0) comes before its forward";
        QTest::newRow("unknown micro-batch") << 0 << 2 << "shift"
                                             << "pipeline schedule: stage 0, action 2 (backward of micro-batch 4, chunk 0): "
                                                "there are 4 micro-batches and 1 chunks";
        QTest::newRow("out of turn")
            << 0 << 0 << "swap"
            << "pipeline schedule: stage 0 sends micro-batch 1 to stage 1 (tag 0) where that stage expects micro-batch 0";
    }
    void plantedFaultsAreCaught() {
        QFETCH(int, stage);
        QFETCH(int, place);
        QFETCH(QString, what);
        QFETCH(QString, says);
        Lists lists = makeSchedules(OneForwardOneBackward, 2, 4, 1).value();
        auto& list = lists[static_cast<std::size_t>(stage)];
        const auto at = list.begin() + place;
        if (what == "erase") {
            list.erase(at);
        } else if (what == "repeat") {
            list.insert(at, Action(*at));
        } else if (what == "swap") {
            std::iter_swap(at, at + 1);
        } else {
            at->microBatch += 4;
        }
        QCOMPARE(QString::fromStdString(errorOf(checkSchedule(lists, 4, 1))), says);
    }

    /// Both stages wait for each other's first move: stage 0 wants a gradient before it sends the forward that makes it.
    void circularWaitIsADeadlock() {
        Lists lists = makeSchedules(OneForwardOneBackward, 2, 2, 1).value();
        lists[0] = {{Forward, 0, 0}, {Backward, 0, 0}, {Forward, 1, 0}, {Backward, 1, 0}};
        lists[1] = {{Forward, 0, 0}, {Forward, 1, 0}, {Backward, 0, 0}, {Backward, 1, 0}};
        QCOMPARE(errorOf(checkSchedule(lists, 2, 1)),
                 "pipeline schedule: deadlock: stage 0, action 1 (backward of micro-batch 0, chunk 0) waits for stage 1; "
                 "stage 1, action 1 (forward of micro-batch 1, chunk 0) waits for stage 0");
    }

    /// A stage of an interleaved schedule that was made with one more round of head start.
    void wrongWarmUpOfOneStageIsCaught() {
        int caught = 0;
        for (int shifted = 0; shifted < 4; ++shifted) {
            Lists lists = makeSchedules(Interleaved, 4, 8, 2).value();
            auto& list = lists[static_cast<std::size_t>(shifted)];
            std::ranges::stable_sort(list,
                                     [](const Action& a, const Action& b) { return a.kind == Backward && b.kind == Forward; });
            caught += checkSchedule(lists, 8, 2) ? 0 : 1;
        }
        QCOMPARE(caught, 4);
    }

    /// However many micro-batches a step has, a few buffers do for the gradients on their way.
    void gradientsLeaveFromASmallRing() {
        for (const int stages : {1, 2, 3, 4, 8}) {
            for (const int chunks : {1, 2, 4}) {
                const ScheduleKind kind = chunks == 1 ? OneForwardOneBackward : Interleaved;
                std::vector<std::int64_t> few;
                for (const int rounds : {4, 32}) {
                    const int m = rounds * stages;
                    const Lists lists = makeSchedules(kind, stages, m, chunks).value();
                    const auto buffers = gradientBuffers(lists, m, chunks);
                    QVERIFY2(buffers, errorOf(buffers).c_str());
                    QVERIFY(few.empty() || *buffers == few);
                    few = *buffers;
                    QVERIFY(std::ranges::max(few) <= 3);
                    QCOMPARE(few.front() == 0, chunks == 1); // the first stage of all sends none
                    for (const double backward : {0.5, 2.0, 10.0}) {
                        std::vector<double> parts(static_cast<std::size_t>(stages * chunks), 1.0);
                        parts.front() = 7;
                        parts.back() = 0.1;
                        const auto bound = checkBuffers(lists, m, chunks, few, {.backward = backward, .parts = parts});
                        QVERIFY2(bound, errorOf(bound).c_str());
                    }
                }
            }
        }
    }

    /// A way between two devices knows no tags.
    void messagesKeepTheirOrder() {
        for (const auto& [kind, chunks] : {std::pair{OneForwardOneBackward, 1}, {Interleaved, 2}, {Interleaved, 4}}) {
            for (const int stages : {2, 3, 4, 8}) {
                const auto order = checkOrder(makeSchedules(kind, stages, 4 * stages, chunks).value(), chunks);
                QVERIFY2(order, errorOf(order).c_str());
            }
        }
        Lists lists = makeSchedules(OneForwardOneBackward, 2, 4, 1).value();
        std::swap(lists[1][0], *std::ranges::find(lists[1], Action{Forward, 1, 0}));
        QCOMPARE(errorOf(checkOrder(lists, 1)), "pipeline schedule: stage 0 sends stage 1 what its forward of micro-batch 0, chunk 0 needs, but "
                                                "that one does forward of micro-batch 1, chunk 0 first");
    }

    /// Stage 1 sends two gradients before the forward for which stage 0 waits.
    void aRingThatIsTooSmallIsADeadlock() {
        Lists lists(2);
        const auto add = [&](std::size_t stage, ActionKind kind, std::initializer_list<std::pair<int, int>> which) {
            for (const auto& [microBatch, chunk] : which) {
                lists[stage].push_back({kind, microBatch, chunk});
            }
        };
        add(0, Forward, {{0, 0}, {1, 0}, {2, 0}, {0, 1}, {1, 1}, {2, 1}});
        add(0, Backward, {{0, 1}, {1, 1}, {2, 1}, {0, 0}, {1, 0}, {2, 0}});
        add(1, Forward, {{0, 0}, {1, 0}, {0, 1}, {1, 1}});
        add(1, Backward, {{0, 1}, {1, 1}});
        add(1, Forward, {{2, 0}, {2, 1}});
        add(1, Backward, {{2, 1}, {0, 0}, {1, 0}, {2, 0}});
        QVERIFY(checkSchedule(lists, 3, 2));
        QVERIFY(checkBuffers(lists, 3, 2, {2, 2}));
        QCOMPARE(errorOf(checkBuffers(lists, 3, 2, {2, 1})),
                 "pipeline schedule: deadlock: stage 0, action 5 (forward of micro-batch 2, chunk 1) waits for stage 1; stage 1, action 5 "
                 "(backward of micro-batch 1, chunk 1) waits until stage 0 takes what fills its buffers");
        QVERIFY(gradientBuffers(lists, 3, 2)->at(1) >= 2);
        QVERIFY(!checkBuffers(lists, 3, 2, {2}));
    }

    void refusals() {
        const auto refusal = [](ScheduleKind kind, int stages, int stage, int m, int chunks) {
            return errorOf(makeSchedule(kind, stages, stage, m, chunks));
        };
        QCOMPARE(refusal(Interleaved, 4, 0, 6, 2),
                 "[parallel] schedule: interleaved: pipeline (4) does not divide the 6 micro-batches of a step");
        QCOMPARE(refusal(Interleaved, 2, 0, 4, 1),
                 "[parallel] schedule: interleaved needs at least 2 chunks per stage; set chunks or schedule = \"1f1b\"");
        QCOMPARE(refusal(OneForwardOneBackward, 2, 0, 4, 2),
                 "[parallel] schedule: 1f1b runs one chunk per stage, not 2; set chunks = 1 or schedule = \"interleaved\"");
        QCOMPARE(refusal(OneForwardOneBackward, 2, 2, 4, 1), "[parallel] schedule: there is no stage 2 in a pipeline of 2");
        QCOMPARE(refusal(OneForwardOneBackward, 2, 0, 0, 1),
                 "[parallel] schedule: pipeline (2), micro-batches (0) and chunks (1) must each be at least 1");
        QVERIFY(!scheduleKind("gpipe"));
    }

    void messagesFindTheirPeers() {
        const Action forward{Forward, 3, 0}, backward{Backward, 3, 1};
        QCOMPARE(*target(forward, 2, 1, 2), (Peer{0, 1})); // the last stage's chunk 0 goes on at the first stage's chunk 1
        QCOMPARE(*source({Forward, 3, 1}, 2, 0, 2), (Peer{1, 0}));
        QCOMPARE(*target(backward, 2, 0, 2), (Peer{1, 0}));
        QVERIFY(!source(forward, 2, 0, 2));
        QVERIFY(!source(backward, 2, 1, 2)); // the loss is there
        QVERIFY(!target({Backward, 3, 0}, 2, 0, 2));
    }

    void partitionIsBalanced_data() {
        QTest::addColumn<int>("layers");
        QTest::addColumn<int>("vocabulary");
        QTest::addColumn<int>("pipeline");
        QTest::addColumn<int>("chunks");
        for (const int layers : {4, 7, 24, 64, 65}) {
            for (const int vocabulary : {272, 80'000, 1'000'000}) {
                for (const int pipeline : {1, 2, 3, 4}) {
                    for (const int chunks : {1, 2, 4}) {
                        if (pipeline * chunks <= layers) {
                            QTest::addRow("%d layers, %d tokens, %d x %d", layers, vocabulary, pipeline, chunks)
                                << layers << vocabulary << pipeline << chunks;
                        }
                    }
                }
            }
        }
    }
    void partitionIsBalanced() {
        QFETCH(int, layers);
        QFETCH(int, vocabulary);
        QFETCH(int, pipeline);
        QFETCH(int, chunks);
        config::ModelConfig model{.layers = layers,
                                  .hiddenSize = 512,
                                  .attentionHeads = 8,
                                  .ffnHiddenSize = 1344,
                                  .vocabSize = vocabulary,
                                  .contextLength = 1024};
        config::ParallelConfig parallel{.pipeline = pipeline, .chunks = chunks};
        const auto parts = partitionLayers(model, parallel);
        QVERIFY2(parts, errorOf(parts).c_str());
        const PartCosts costs = partCosts(model);
        std::int64_t next = 0;
        double worst = 0;
        for (const LayerRange& part : *parts) {
            QCOMPARE(part.first, next);
            QVERIFY(part.count >= 1);
            next += part.count;
            worst = std::max(worst, costs.of(part));
        }
        QCOMPARE(next, layers);
        QVERIFY(parts->front().hasEmbedding && parts->back().hasHead);
        // Optimal: a part can be cheaper than the worst only by less than a layer, or the worst has one layer.
        for (const LayerRange& part : *parts) {
            for (const LayerRange& other : *parts) {
                if (costs.of(part) >= worst && part.count > 1) {
                    LayerRange taken = other;
                    ++taken.count;
                    QVERIFY(costs.of(taken) >= worst * (1 - 1e-12));
                }
            }
        }
    }

    void partitionKnownAndGiven() {
        config::ModelConfig model{
            .layers = 6, .hiddenSize = 64, .attentionHeads = 2, .ffnHiddenSize = 172, .vocabSize = 8000, .contextLength = 64};
        const auto counts = [&](config::ParallelConfig parallel) {
            std::vector<std::int64_t> out;
            const auto parts = partitionLayers(model, parallel).value();
            for (const LayerRange& part : parts) {
                out.push_back(part.count);
            }
            return out;
        };
        QCOMPARE(counts({.pipeline = 2}), (std::vector<std::int64_t>{5, 1})); // the head weighs as much as 9 layers
        QCOMPARE(counts({.pipeline = 2, .layers = {3, 3}}), (std::vector<std::int64_t>{3, 3}));
        model.layers = 64, model.hiddenSize = 8192, model.ffnHiddenSize = 21'824, model.vocabSize = 80'000,
        model.contextLength = 4096;
        QCOMPARE(counts({.pipeline = 2}), (std::vector<std::int64_t>{32, 32}));     // the head weighs 0.78 layers
        QCOMPARE(counts({.pipeline = 3}), (std::vector<std::int64_t>{22, 21, 21}));
        QVERIFY(!partitionLayers(model, {.pipeline = 2, .layers = {32, 31}}));
        QVERIFY(!partitionLayers(model, {.pipeline = 2, .layers = {64, 0}}));
        QVERIFY(!partitionLayers(model, {.pipeline = 2, .layers = {64}}));
        QVERIFY(!partitionLayers(model, {.pipeline = 65}));
    }
};

QTEST_GUILESS_MAIN(ScheduleTest)
#include "tst_schedule.moc"
