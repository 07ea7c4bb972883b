// SPDX-License-Identifier: Apache-2.0
// What programs of earlier versions wrote is understood for ever: the recorded frames of tests/golden/ through today's links.
#include <fstream>
#include <sstream>

#include <QTemporaryDir>
#include <QTest>

#include <zmq.h>

#include "convert/convert.h"
#include "golden_values.h"
#include "telehelm/ipc/live.h"
#include "telehelm/ipc/trainer_link.h"
#include "zmq/link_frames.h"
#include "zmq/live_frames.h"
#include "zmq/socket.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

constexpr int kLong = 20'000;
using Frames = std::vector<std::string>;

std::string unhex(const std::string& text) {
    return text == "-" ? std::string() : QByteArray::fromHex(QByteArray::fromStdString(text)).toStdString();
}

/// The messages of one recorded file.
std::vector<Frames> recorded(const std::string& file) {
    const char* root = std::getenv("TELEHELM_SOURCE");
    std::ifstream in(std::string(root ? root : ".") + "/tests/golden/" + file);
    std::vector<Frames> messages;
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        Frames& frames = messages.emplace_back();
        for (std::string word; words >> word;)
            frames.push_back(unhex(word));
    }
    return messages;
}

std::vector<std::string_view> views(const Frames& frames) { return {frames.begin(), frames.end()}; }

template <typename Wire, typename Value>
bool reads(const std::string& bytes, Value& value) {
    Wire wire;
    return wire.ParseFromString(bytes) && fromWire(wire, value).has_value();
}

/// A value as text: equal for equal values, also where a struct has no ==.
template <typename Wire, typename Value>
std::string textOf(const Value& value) {
    Wire wire;
    toWire(value, wire);
    return wire.DebugString();
}

class Listener : public TrainerHandler {
public:
    Result<std::uint64_t> onHello(const TrainerHello& hello) override {
        const std::lock_guard lock(mutex);
        hellos.push_back(hello);
        return lastStored;
    }
    Result<std::uint64_t> onBatch(TelemetryBatch&& batch) override {
        const std::lock_guard lock(mutex);
        const std::uint64_t sequence = batch.sequence;
        batches.push_back(std::move(batch));
        return sequence;
    }
    void onHeartbeat(const TrainerHeartbeat& beat) override {
        const std::lock_guard lock(mutex);
        beats.push_back(beat);
    }
    void onGone(const AttemptKey&, bool goodbye) override {
        const std::lock_guard lock(mutex);
        goodbyes += goodbye ? 1 : 0;
    }
    template <typename Get>
    auto read(Get get) {
        const std::lock_guard lock(mutex);
        return get(*this);
    }
    std::mutex mutex;
    std::vector<TrainerHello> hellos;
    std::vector<TelemetryBatch> batches;
    std::vector<TrainerHeartbeat> beats;
    int goodbyes = 0;
    std::uint64_t lastStored = 98;
};

} // namespace

class TestGoldenFrames : public QObject {
    Q_OBJECT
private slots:
    void controlBodiesOfVersion1() {
        const auto messages = recorded("wire-1/control.hex");
        QCOMPARE(messages.size(), std::size_t{7});
        HelloInfo hello;
        QVERIFY(reads<v1::HelloInfo>(messages[0][0], hello));
        QCOMPARE(textOf<v1::HelloInfo>(hello), textOf<v1::HelloInfo>(golden::hello()));
        RunInfo run;
        QVERIFY(reads<v1::RunInfo>(messages[1][0], run));
        QCOMPARE(textOf<v1::RunInfo>(run), textOf<v1::RunInfo>(golden::run()));
        Command command;
        QVERIFY(reads<v1::Command>(messages[2][0], command));
        QVERIFY(command == golden::command());
        Event event;
        QVERIFY(reads<v1::Event>(messages[3][0], event));
        QVERIFY(event == golden::event());
        CheckpointInfo checkpoint;
        QVERIFY(reads<v1::CheckpointInfo>(messages[4][0], checkpoint));
        QCOMPARE(textOf<v1::CheckpointInfo>(checkpoint), textOf<v1::CheckpointInfo>(golden::checkpoint()));
        SeriesInfo series;
        QVERIFY(reads<v1::SeriesInfo>(messages[5][0], series));
        QCOMPARE(textOf<v1::SeriesInfo>(series), textOf<v1::SeriesInfo>(golden::seriesInfo()));
        SeriesSegment segment;
        QVERIFY(reads<v1::SeriesSegment>(messages[6][0], segment));
        QVERIFY(segment.buckets == golden::segment().buckets && segment.ema == golden::segment().ema);
        QVERIFY(segment.key == golden::segment().key && segment.name == "train/loss" && segment.superseded && segment.level == 1);
    }

    void theLiveStreamOfVersion1() {
        const ZmqContext context;
        ZmqSocket daemon(context, ZMQ_XPUB);
        QVERIFY(daemon.bind("tcp://127.0.0.1:*").has_value());
        auto subscriber = makeLiveSubscriber(daemon.lastEndpoint(), {"demo", {}, 1});
        Frames subscription;
        QTRY_VERIFY_WITH_TIMEOUT(!subscription.empty() || daemon.receive(subscription), kLong);
        QCOMPARE(subscription.front(), std::string("\1run/demo\0", 10)); // all that such a daemon understands
        const auto messages = recorded("wire-1/live.hex");
        const std::vector<News> wanted = golden::news();
        QCOMPARE(messages.size(), wanted.size());
        for (std::size_t i = 0; i < messages.size(); ++i) {
            daemon.send(views(messages[i]));
            const auto got = (*subscriber)->receive(kLong);
            QVERIFY2(got && *got, got ? "nothing came" : got.error().text().c_str());
            const News& news = **got;
            QCOMPARE(news.epoch, std::string("epoch-1"));
            QCOMPARE(news.news, i + 1);
            QVERIFY(news.publishedUs > 0 && !news.beat);
            QCOMPARE(news.batch, wanted[i].batch);
            QCOMPARE(news.command, wanted[i].command);
            QCOMPARE(news.attempt.has_value(), wanted[i].attempt.has_value());
            if (news.attempt) {
                QCOMPARE(textOf<v1::AttemptInfo>(*news.attempt), textOf<v1::AttemptInfo>(*wanted[i].attempt));
            }
        }
    }

    void aTrainerOfVersion1() {
        Listener listener;
        auto server = serveTrainers(listener, "tcp://127.0.0.1:*");
        const ZmqContext context;
        ZmqSocket trainer(context, ZMQ_DEALER);
        QVERIFY(trainer.connect((*server)->endpoint()).has_value());
        const auto messages = recorded("wire-1/trainer.hex");
        QCOMPARE(messages.size(), std::size_t{4});
        for (const Frames& frames : messages)
            trainer.send(views(frames));
        QTRY_COMPARE_WITH_TIMEOUT(listener.read([](Listener& l) { return l.goodbyes; }), 1, kLong);
        QCOMPARE((*server)->badFrames(), std::uint64_t{0});
        QCOMPARE(listener.hellos.size(), std::size_t{1});
        QCOMPARE(textOf<v1::TrainerHello>(listener.hellos[0]), textOf<v1::TrainerHello>(golden::trainerHello()));
        QVERIFY(listener.batches == std::vector<TelemetryBatch>{golden::batch()});
        QCOMPARE(listener.beats.size(), std::size_t{1});
        QVERIFY(listener.beats[0].step == 420 && listener.beats[0].tokens == 860'160 && listener.beats[0].phase == "saving" &&
                listener.beats[0].pointsEmitted == 1000);
    }

    void aDaemonOfVersion1() {
        QTemporaryDir folder;
        const ZmqContext context;
        ZmqSocket daemon(context, ZMQ_ROUTER);
        QVERIFY(daemon.bind("tcp://127.0.0.1:*").has_value());
        TrainerLinkOptions options;
        options.endpoint = daemon.lastEndpoint();
        options.key = {"demo", 2};
        options.spoolFile = folder.filePath("spool").toStdString();
        auto trainer = makeTrainerLink(options);
        QVERIFY(trainer.has_value());
        Frames hello;
        QTRY_VERIFY_WITH_TIMEOUT(!hello.empty() || daemon.receive(hello), kLong);
        const auto messages = recorded("wire-1/daemon.hex");
        QCOMPARE(messages.size(), std::size_t{6});
        const auto tell = [&](const Frames& frames) {
            Frames whole = frames;
            whole.insert(whole.begin(), hello.front());
            daemon.send(views(whole));
        };
        tell(messages[0]); // refused: it says hello again
        QTRY_COMPARE_WITH_TIMEOUT((*trainer)->counters().problem, std::string("not now"), kLong);
        hello.clear();
        QTRY_VERIFY_WITH_TIMEOUT(!hello.empty() || daemon.receive(hello), kLong);
        for (std::size_t i = 1; i < messages.size(); ++i)
            tell(messages[i]); // welcome, ack, nack, command, pulse
        QTRY_VERIFY_WITH_TIMEOUT((*trainer)->counters().problem == "the disk is full", kLong);
        std::vector<Command> commands;
        QVERIFY(QTest::qWaitFor([&] { return !(commands = (*trainer)->takeCommands()).empty(); }, kLong));
        QVERIFY(commands == std::vector<Command>{golden::command()});
        QVERIFY((*trainer)->counters().connected);
        QCOMPARE((*trainer)->counters().badFrames, std::uint64_t{0});
    }

    void aSpoolOfVersion1() {
        QTemporaryDir folder;
        const std::string spool = folder.filePath("spool").toStdString();
        std::ofstream(spool, std::ios::binary) << recorded("wire-1/spool.hex").at(0).at(0);
        Listener listener;
        listener.lastStored = 0;
        auto server = serveTrainers(listener, "tcp://127.0.0.1:*");
        TrainerLinkOptions options;
        options.endpoint = (*server)->endpoint();
        options.key = {"demo", 2};
        options.spoolFile = spool;
        auto trainer = makeTrainerLink(options);
        QVERIFY((*trainer)->flush(kLong));
        QCOMPARE(listener.batches.size(), std::size_t{1});
        TelemetryBatch wanted = golden::batch();
        std::sort(wanted.series.begin(), wanted.series.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
        QCOMPARE(listener.batches[0].series, wanted.series);
        QCOMPARE(listener.batches[0].events, wanted.events);
    }
};

QTEST_GUILESS_MAIN(TestGoldenFrames)
#include "tst_golden_frames.moc"
