// SPDX-License-Identifier: Apache-2.0
// Values survive the wire whole: every field, every number, every text.
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include <QTest>

#include "convert/convert.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

bool sameBits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

/// Values of every kind, the awkward ones often.
class Dice {
public:
    explicit Dice(unsigned seed) : m_engine(seed) {}
    std::int64_t integer() {
        switch (m_engine() % 6) {
        case 0: return std::numeric_limits<std::int64_t>::min();
        case 1: return std::numeric_limits<std::int64_t>::max();
        case 2: return -1;
        case 3: return static_cast<std::int64_t>(m_engine() % 1000);
        default: return static_cast<std::int64_t>(m_engine());
        }
    }
    double real() {
        switch (m_engine() % 8) {
        case 0: return kNan;
        case 1: return kInf;
        case 2: return -kInf;
        case 3: return -0.0;
        case 4: return std::numeric_limits<double>::denorm_min();
        default: return std::uniform_real_distribution<double>(-1e6, 1e6)(m_engine);
        }
    }
    double finite() { return std::uniform_real_distribution<double>(-1e6, 1e6)(m_engine); }
    std::string text() {
        static const char* const kTexts[] = {"", "demo", "唐诗三百首", "loss rose to 9.1", "a\tb\nc", "\xf0\x9f\x9a\x80"};
        return kTexts[m_engine() % 6];
    }
    bool flip() { return m_engine() % 2 != 0; }
    std::uint64_t word() { return m_engine(); }
    template <typename E>
    E pick(int last) { return static_cast<E>(1 + m_engine() % static_cast<unsigned>(last)); }

private:
    std::mt19937_64 m_engine;
};

AttemptKey makeKey(Dice& dice) { return {dice.text(), static_cast<std::uint32_t>(dice.word())}; }
Mixture makeMixture(Dice& dice) { return {{"WebText", dice.finite()}, {"古文", dice.finite()}, {dice.text() + "x", 0.0}}; }

Event makeEvent(Dice& dice) {
    return {dice.integer(), makeKey(dice), dice.pick<EventKind>(13), dice.pick<Severity>(4), dice.integer(), dice.integer(),
            dice.integer(), dice.text(), {{"path", dice.text()}, {"bytes", "12"}}};
}
CommandOutcome makeOutcome(Dice& dice) { return {newUuid(), dice.pick<CommandState>(5), dice.integer(), dice.text()}; }

Command makeCommand(Dice& dice) {
    Command c;
    c.id = newUuid();
    c.key = makeKey(dice);
    c.kind = dice.pick<CommandKind>(7);
    c.author = dice.text();
    c.host = dice.text();
    c.reason = dice.text();
    c.atStep = dice.integer();
    c.saveCheckpoint = dice.flip();
    c.lrScale = dice.finite();
    c.mixture = makeMixture(dice);
    if (dice.flip()) {
        RestartOptions& r = c.restart.emplace();
        r.checkpointAttempt = static_cast<std::uint32_t>(dice.word());
        r.checkpointStep = dice.integer();
        r.skipBatches = dice.integer();
        if (dice.flip())
            r.lrScale = dice.finite();
        if (dice.flip())
            r.clipGrad = 0.0; // set to the default is not the same as unset
        if (dice.flip())
            r.dataSeed = dice.word();
        if (dice.flip())
            r.mixture = dice.flip() ? makeMixture(dice) : Mixture{};
    }
    c.state = dice.pick<CommandState>(5);
    c.outcome = dice.text();
    c.appliedStep = dice.integer();
    c.newAttempt = static_cast<std::uint32_t>(dice.word());
    c.diff = "-x = 1\n+x = 2\n";
    c.requestedUs = dice.integer();
    c.acceptedUs = dice.integer();
    c.endedUs = dice.integer();
    return c;
}

AttemptInfo makeAttempt(Dice& dice) {
    return {makeKey(dice), 3, dice.integer(), dice.pick<AttemptState>(10), dice.text(), dice.integer(), dice.integer(),
            dice.integer(), dice.integer(), dice.integer(), dice.word(), dice.word(), dice.word(), "[model]\nlayers = 2\n", "/tmp/x"};
}

bool same(const AttemptInfo& a, const AttemptInfo& b) {
    return a.key == b.key && a.parent == b.parent && a.forkStep == b.forkStep && a.state == b.state && a.stateText == b.stateText &&
           a.startedUs == b.startedUs && a.endedUs == b.endedUs && a.step == b.step && a.tokens == b.tokens &&
           a.lastHeardUs == b.lastHeardUs && a.pointsEmitted == b.pointsEmitted && a.pointsStored == b.pointsStored &&
           a.lastSequence == b.lastSequence && a.configToml == b.configToml && a.runDir == b.runDir;
}
bool same(const Point& a, const Point& b) {
    return a.step == b.step && a.tokens == b.tokens && a.wallUs == b.wallUs && sameBits(a.value, b.value);
}
bool same(const Bucket& a, const Bucket& b) {
    return a.firstStep == b.firstStep && a.lastStep == b.lastStep && a.firstTokens == b.firstTokens &&
           a.lastTokens == b.lastTokens && a.firstWallUs == b.firstWallUs && a.lastWallUs == b.lastWallUs &&
           sameBits(a.first, b.first) && sameBits(a.last, b.last) && sameBits(a.min, b.min) && sameBits(a.max, b.max) &&
           sameBits(a.sum, b.sum) && a.count == b.count && a.nonFinite == b.nonFinite && sameBits(a.smoothed, b.smoothed);
}

// Through bytes, not only through the message object: what protobuf refuses to parse must show here.
template <typename Wire, typename Value>
Value overTheWire(const Value& value) {
    Wire wire;
    toWire(value, wire);
    Wire read;
    if (!read.ParseFromString(wire.SerializeAsString()))
        qFatal("the bytes cannot be parsed");
    Value back;
    if constexpr (std::is_void_v<decltype(fromWire(read, back))>) {
        fromWire(read, back);
    } else {
        const auto ok = fromWire(read, back);
        if (!ok)
            qFatal("%s", ok.error().text().c_str());
    }
    return back;
}

TelemetryBatch makeBatch(Dice& dice) {
    TelemetryBatch batch{makeKey(dice), dice.word(), dice.integer(), {}, {makeEvent(dice), makeEvent(dice)}, {makeOutcome(dice)}};
    for (int s = 0; s < 3; ++s) {
        SeriesBlock block{"bpb/" + dice.text(), {}};
        for (int i = 0; i < 20 * s; ++i)
            block.points.push_back({dice.integer(), dice.integer(), dice.integer(), dice.real()});
        batch.series.push_back(std::move(block));
    }
    return batch;
}

bool same(const TelemetryBatch& a, const TelemetryBatch& b) {
    return a.key == b.key && a.sequence == b.sequence && a.emittedUs == b.emittedUs && a.events == b.events &&
           a.outcomes == b.outcomes &&
           std::equal(a.series.begin(), a.series.end(), b.series.begin(), b.series.end(), [](const auto& x, const auto& y) {
               return x.name == y.name && std::equal(x.points.begin(), x.points.end(), y.points.begin(), y.points.end(),
                                                     [](const Point& p, const Point& q) { return same(p, q); });
           });
}

} // namespace

class TestConvert : public QObject {
    Q_OBJECT
private slots:
    void batchesSurvive() {
        Dice dice(1);
        for (int i = 0; i < 200; ++i) {
            const TelemetryBatch batch = makeBatch(dice);
            QVERIFY(same(overTheWire<v1::TelemetryBatch>(batch), batch));
        }
    }
    void commandsSurvive() {
        Dice dice(2);
        for (int i = 0; i < 500; ++i) {
            const Command command = makeCommand(dice);
            QVERIFY(overTheWire<v1::Command>(command) == command);
        }
    }
    void runsSurvive() {
        Dice dice(3);
        for (int i = 0; i < 100; ++i) {
            RunInfo run;
            run.run = "demo";
            run.description = dice.text();
            run.createdUs = dice.integer();
            run.attempts = {makeAttempt(dice), makeAttempt(dice)};
            run.parameters = 52'817'000'000;
            run.tensorParallel = 4;
            run.pipelineParallel = 2;
            run.dataParallel = 112;
            run.device = "CPU, 2 ranks";
            run.totalSteps = dice.integer();
            run.tokensPerStep = dice.integer();
            run.totalTokens = dice.integer();
            run.learningRate = dice.finite();
            run.minimumLearningRate = dice.finite();
            run.clipGrad = dice.finite();
            run.lrSchedule = "cosine";
            run.validationEvery = 100;
            run.checkpointEvery = 200;
            run.domains = {{"WebText", "en, zh", dice.integer(), dice.integer(), dice.finite()}};
            if (i % 2 == 0)
                run.origin = RunOrigin{"/mnt/usb/run", dice.text(), "gpu-box", dice.integer(), "me", "here"};
            const RunInfo back = overTheWire<v1::RunInfo>(run);
            QVERIFY(back.origin == run.origin);
            QCOMPARE(back.attempts.size(), run.attempts.size());
            QVERIFY(same(back.attempts[0], run.attempts[0]) && same(back.attempts[1], run.attempts[1]));
            QVERIFY(back.run == run.run && back.description == run.description && back.createdUs == run.createdUs);
            QVERIFY(back.parameters == run.parameters && back.tensorParallel == 4 && back.pipelineParallel == 2 && back.dataParallel == 112);
            QVERIFY(back.device == run.device && back.totalSteps == run.totalSteps && back.tokensPerStep == run.tokensPerStep);
            QVERIFY(back.totalTokens == run.totalTokens && back.learningRate == run.learningRate && back.clipGrad == run.clipGrad);
            QVERIFY(back.minimumLearningRate == run.minimumLearningRate && back.lrSchedule == run.lrSchedule);
            QVERIFY(back.validationEvery == 100 && back.checkpointEvery == 200);
            QVERIFY(back.domains.size() == 1 && back.domains[0].name == "WebText" && back.domains[0].languages == "en, zh" &&
                    back.domains[0].trainTokens == run.domains[0].trainTokens &&
                    back.domains[0].tokensSeen == run.domains[0].tokensSeen && back.domains[0].target == run.domains[0].target);
        }
    }
    void segmentsSurvive_data() {
        QTest::addColumn<bool>("raw");
        QTest::newRow("raw points") << true;
        QTest::newRow("buckets") << false;
    }
    void segmentsSurvive() {
        QFETCH(bool, raw);
        Dice dice(4);
        for (int round = 0; round < 100; ++round) {
            SeriesSegment segment{makeKey(dice), "train/loss", dice.flip(), 2, {}, {dice.finite(), dice.word()}, 3, dice.flip(),
                                  {{dice.word(), dice.integer(), dice.integer(), "level 0, chunk 7: checksum"}}};
            for (int i = 0; i < round; ++i) {
                Bucket b{dice.integer(), dice.integer(), dice.integer(), dice.integer(), dice.integer(), dice.integer(), dice.real(),
                         dice.real(),    dice.real(),    dice.real(),    dice.real(),    dice.word(),    dice.word(),    dice.real()};
                if (raw) {
                    const bool finite = std::isfinite(b.first);
                    b = {b.firstStep, b.firstStep, b.firstTokens, b.firstTokens, b.firstWallUs, b.firstWallUs, b.first, b.first,
                         finite ? b.first : kInf, finite ? b.first : -kInf, finite ? b.first : 0, 1, finite ? 0u : 1u, kNan};
                }
                segment.buckets.push_back(b);
            }
            const SeriesSegment back = overTheWire<v1::SeriesSegment>(segment);
            QVERIFY(back.key == segment.key && back.name == segment.name && back.superseded == segment.superseded);
            QVERIFY(back.level == 2 && back.ema == segment.ema && back.pass == 3 && back.isLastPass == segment.isLastPass);
            QVERIFY(back.missing == segment.missing);
            QVERIFY(std::equal(back.buckets.begin(), back.buckets.end(), segment.buckets.begin(), segment.buckets.end(),
                               [](const Bucket& a, const Bucket& b) { return same(a, b); }));
        }
    }
    void newsAndUpdatesSurvive() {
        Dice dice(5);
        for (int i = 0; i < 100; ++i) {
            News news{"epoch", dice.word(), dice.integer(), makeBatch(dice), {}, {}};
            if (dice.flip())
                news.attempt = makeAttempt(dice);
            if (dice.flip())
                news.command = makeCommand(dice);
            const News back = overTheWire<v1::News>(news);
            QVERIFY(back.epoch == news.epoch && back.news == news.news && back.publishedUs == news.publishedUs);
            QVERIFY(same(back.batch, news.batch) && back.command == news.command);
            QVERIFY(back.attempt.has_value() == news.attempt.has_value() && (!back.attempt || same(*back.attempt, *news.attempt)));
        }
        WatchUpdate update;
        update.event = makeEvent(dice);
        const WatchUpdate back = overTheWire<v1::WatchUpdate>(update);
        QVERIFY(back.event == update.event && !back.run && !back.command);
        const WatchUpdate beat = overTheWire<v1::WatchUpdate>(WatchUpdate{});
        QVERIFY(!beat.event && !beat.run && !beat.command && !beat.deleted);
        const DeletedRun deleted{newUuid(), "r", dice.integer(), "me", "here", "disk is full", 2, dice.word(), 3, dice.integer(), "/kept"};
        WatchUpdate gone;
        gone.deleted = deleted;
        QVERIFY(overTheWire<v1::WatchUpdate>(gone).deleted == deleted);
    }
    void importsSurvive() {
        Dice dice(7);
        const ImportRequest r = overTheWire<v1::ImportRunRequest>(ImportRequest{"/mnt/usb", "n", "me", "here", "brought over"});
        QVERIFY(r.folder == "/mnt/usb" && r.name == "n" && r.author == "me" && r.host == "here" && r.reason == "brought over");
        const ImportReport report{"demo", true,
                                  {{makeKey(dice), AttemptState::Finished, dice.integer(), dice.word(), dice.word(), dice.word(), dice.word(), {{1, 4}, {9, 9}}, {"It breaks off."}},
                                   {makeKey(dice), AttemptState::Lost, dice.integer(), 0, 0, 0, 0, {}, {}}},
                                  {"left out", "唐诗"}};
        QVERIFY(overTheWire<v1::ImportReport>(report) == report);
    }
    void queriesAndCheckpointsSurvive() {
        Dice dice(6);
        const SeriesQuery query{makeKey(dice), {"bpb/*", "train/loss"}, Axis::WallTime, -5, INT64_MAX, 77, 0.9, true,
                                {makeKey(dice), makeKey(dice)}, 9};
        const SeriesQuery back = overTheWire<v1::SeriesQuery>(query);
        QVERIFY(back.key == query.key && back.names == query.names && back.axis == query.axis && back.from == -5 &&
                back.to == INT64_MAX && back.maxBuckets == 77 && back.smoothing == 0.9 && back.includeSuperseded && back.also == query.also && back.firstBuckets == 9);
        const CheckpointInfo checkpoint{makeKey(dice), 200, dice.integer(), dice.integer(), 1 << 30, "/ckpt", true, "shard 3: checksum", 2.5, kInf};
        const CheckpointInfo c = overTheWire<v1::CheckpointInfo>(checkpoint);
        QVERIFY(c.key == checkpoint.key && c.step == 200 && c.tokens == checkpoint.tokens && c.savedUs == checkpoint.savedUs &&
                c.bytes == 1 << 30 && c.path == "/ckpt" && c.verified && c.damage == checkpoint.damage && c.trainLoss == 2.5 &&
                c.gradNorm == kInf);
        const StartRequest start{"a = 1\n", "/c.toml", "n", "me", "here", "because", 3, newUuid()};
        const StartRequest s = overTheWire<v1::StartRunRequest>(start);
        QVERIFY(s.configToml == start.configToml && s.configPath == "/c.toml" && s.name == "n" && s.author == "me" &&
                s.host == "here" && s.reason == "because" && s.ranks == 3 && s.commandId == start.commandId);
        const DeleteRequest d = overTheWire<v1::DeleteRunRequest>(DeleteRequest{"r", true, true, "me", "here", "disk is full"});
        QVERIFY(d.run == "r" && d.keepCheckpoints && d.onlyLook && d.author == "me" && d.host == "here" && d.reason == "disk is full");
        const HelloInfo hello{1, "telehelmd 0.1.0", "e", "/s", 42, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", 7, 8};
        const HelloInfo h = overTheWire<v1::HelloInfo>(hello);
        QVERIFY(h.protocol == 1 && h.program == hello.program && h.epoch == "e" && h.stateDir == "/s" && h.pid == 42 &&
                h.liveEndpoint == hello.liveEndpoint && h.linkEndpoint == hello.linkEndpoint && h.startedUs == 7 && h.pointsStored == 8);
        const SeriesInfo info{makeKey(dice), "perf/mfu", 9, 1, 9, kNan};
        const SeriesInfo i = overTheWire<v1::SeriesInfo>(info);
        QVERIFY(i.key == info.key && i.name == "perf/mfu" && i.points == 9 && i.firstStep == 1 && i.lastStep == 9 && std::isnan(i.latest));
    }
    void textOfADyingJobIsMended() {
        Event event;
        event.text = std::string("Segfault \xff\xfe at ") + "\xe5\x94" + " ok 唐";
        event.facts["tail"] = "\xc0\x80";
        const Event back = overTheWire<v1::Event>(event);
        QCOMPARE(QString::fromStdString(back.text), QString::fromUtf8("Segfault \uFFFD\uFFFD at \uFFFD\uFFFD ok 唐"));
        QCOMPARE(QString::fromStdString(back.facts.at("tail")), QString::fromUtf8("\uFFFD\uFFFD"));
        QCOMPARE(mendUtf8("\xed\xa0\x80"), std::string("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd")); // a surrogate
        QCOMPARE(mendUtf8("\xf0\x9f\x9a\x80"), std::string("\xf0\x9f\x9a\x80"));
    }
    void crookedMessagesAreRefused() {
        v1::SeriesBlock block;
        block.set_name("train/loss");
        block.add_step_delta(1);
        block.add_value(1.0);
        SeriesBlock out;
        const auto bad = fromWire(block, out);
        QVERIFY(!bad && bad.error().code == ErrorCode::DataLoss);
        QVERIFY2(bad.error().text().find("train/loss") != std::string::npos, bad.error().text().c_str());

        v1::SeriesSegment segment;
        segment.mutable_buckets()->set_count_rows(1'000'000'000); // must not be believed
        SeriesSegment outSegment;
        QVERIFY(!fromWire(segment, outSegment));

        v1::Command command;
        Command outCommand;
        QVERIFY(!fromWire(command, outCommand)); // kind 0
        command.set_kind(static_cast<v1::CommandKind>(99));
        command.set_state(v1::COMMAND_STATE_REQUESTED);
        QVERIFY(!fromWire(command, outCommand));
    }
    void newerEventKindsReadAsNotes() {
        v1::Event event;
        event.set_kind(static_cast<v1::EventKind>(200));
        event.set_text("something new");
        Event out;
        QVERIFY(fromWire(event, out).has_value());
        QCOMPARE(out.kind, EventKind::Note);
        QCOMPARE(out.text, std::string("something new"));
    }
    void pointsTakeFewBytes() {
        TelemetryBatch batch;
        batch.series.push_back({"train/loss", {}});
        for (int i = 0; i < 512; ++i)
            batch.series[0].points.push_back({1000 + i, (1000 + i) * 2048, 1'700'000'000'000'000 + i * 400'000, 2.0 + i * 1e-3});
        v1::TelemetryBatch wire;
        toWire(batch, wire);
        // 8 bytes of value, 1 of step, 2 of tokens, 3 of time.
        QVERIFY2(wire.ByteSizeLong() < 512 * 15, qPrintable(QString::number(wire.ByteSizeLong())));
    }
    void uuidsAreVersion4AndDiffer() {
        std::set<std::string> seen;
        for (int i = 0; i < 1000; ++i) {
            const std::string id = newUuid();
            QVERIFY(id.size() == 36 && id[14] == '4' && std::string("89ab").find(id[19]) != std::string::npos);
            QVERIFY(seen.insert(id).second);
        }
    }
    void namesAreKnown() {
        for (int i = 1; i <= 7; ++i)
            QVERIFY(std::string(name(static_cast<CommandKind>(i))) != "unknown");
        for (int i = 1; i <= 10; ++i)
            QVERIFY(std::string(name(static_cast<AttemptState>(i))) != "unknown");
        for (int i = 1; i <= 13; ++i)
            QVERIFY(std::string(name(static_cast<EventKind>(i))) != "unknown");
        QVERIFY(isLive(AttemptState::Starting) && isLive(AttemptState::Stopping) && !isLive(AttemptState::Finished));
    }
};

QTEST_GUILESS_MAIN(TestConvert)
#include "tst_convert.moc"
