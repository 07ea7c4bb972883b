// SPDX-License-Identifier: Apache-2.0
// The live stream: numbered news, per-run subscriptions, a slow listener that costs nobody anything, and strange frames.
#include <map>

#include <QTest>

#include <zmq.h>

#include "telehelm/ipc/live.h"
#include "telehelm/ipc/news_ledger.h"
#include "telehelm/ipc/series_filter.h"
#include "zmq/live_frames.h"
#include "zmq/socket.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

News newsOf(const std::string& run, std::int64_t step) {
    News news;
    news.batch.key = {run, 1};
    news.batch.sequence = static_cast<std::uint64_t>(step);
    news.batch.series = {{"train/loss", {{step, step * 10, nowUs(), 2.5}}}};
    return news;
}

/// Publishes until the subscription has gone through, so that the test proper starts from a standing link.
bool warmUp(LivePublisher& publisher, LiveSubscriber& subscriber, const std::string& run) {
    for (int i = 0; i < 500; ++i) {
        publisher.publish(newsOf(run, 1));
        const auto got = subscriber.receive(20);
        if (got && *got)
            return true;
    }
    return false;
}

std::vector<News> drain(LiveSubscriber& subscriber, int quietMs = 300) {
    std::vector<News> all;
    for (;;) {
        auto got = subscriber.receive(quietMs);
        if (!got || !*got)
            return all;
        all.push_back(std::move(**got));
    }
}

} // namespace

class TestLive : public QObject {
    Q_OBJECT
private slots:
    void newsArriveInOrderAndNumbered() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "epoch-1");
        QVERIFY(publisher.has_value());
        auto subscriber = makeLiveSubscriber((*publisher)->endpoint());
        QVERIFY(subscriber.has_value());
        QVERIFY(warmUp(**publisher, **subscriber, "demo"));
        QVERIFY((*subscriber)->connected());
        const auto early = drain(**subscriber);
        for (int i = 0; i < 100; ++i)
            (*publisher)->publish(newsOf(i % 2 == 0 ? "demo" : "other", i));
        const auto got = drain(**subscriber);
        QCOMPARE(got.size(), std::size_t{100});
        std::map<std::string, std::uint64_t> last;
        for (std::size_t i = 0; i < got.size(); ++i) {
            QCOMPARE(got[i].epoch, std::string("epoch-1"));
            QVERIFY(got[i].publishedUs > 0);
            QCOMPARE(got[i].batch.sequence, std::uint64_t(i));
            std::uint64_t& before = last[got[i].batch.key.run];
            QVERIFY(before == 0 || got[i].news == before + 1);
            before = got[i].news;
        }
        QCOMPARE(last["other"], std::uint64_t{50});
    }

    void aSubscriptionIsToOneRunAlone() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "e");
        auto subscriber = makeLiveSubscriber((*publisher)->endpoint(), {"demo", {}});
        QVERIFY(warmUp(**publisher, **subscriber, "demo"));
        drain(**subscriber);
        (*publisher)->publish(newsOf("demo-2", 7)); // has the other's name as its beginning
        (*publisher)->publish(newsOf("demo", 8));
        const auto got = drain(**subscriber);
        QCOMPARE(got.size(), std::size_t{1});
        QCOMPARE(got[0].batch.sequence, std::uint64_t{8});
    }

    void aSubscriptionToOneSeriesGetsItAlone() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "e");
        auto one = makeLiveSubscriber((*publisher)->endpoint(), {"demo", {"rank/512/step_ms"}});
        auto some = makeLiveSubscriber((*publisher)->endpoint(), {"demo", {"bpb/*", "train/loss"}});
        auto all = makeLiveSubscriber((*publisher)->endpoint(), {});
        const News quiet = newsOf("other", 1);
        News wide;
        wide.batch.key = {"demo", 1};
        for (int i = 0; i < 2000; ++i)
            wide.batch.series.push_back({"rank/" + std::to_string(i) + "/step_ms", {{1, 1, 1, 0.5 * i}}});
        wide.batch.series.push_back({"bpb/Code", {{1, 1, 1, 1.0}, {2, 2, 2, 2.0}}});
        QVERIFY(warmUp(**publisher, **all, "demo"));
        for (auto* subscriber : {&*one, &*some}) // the subscriptions went through when an event, which is everybody's, comes
            QVERIFY(QTest::qWaitFor([&] {
                News told;
                told.batch.key = {"demo", 1};
                told.batch.events.resize(1);
                (*publisher)->publish(told);
                const auto got = (*subscriber)->receive(20);
                return got && *got;
            }, 20'000));
        for (auto* subscriber : {&*one, &*some, &*all})
            drain(**subscriber);
        (*publisher)->publish(quiet);
        (*publisher)->publish(wide);
        (*publisher)->publish(newsOf("demo", 3)); // "train/loss" alone
        const auto ones = drain(**one), somes = drain(**some), alls = drain(**all);
        QCOMPARE(ones.size(), std::size_t{1});
        QCOMPARE(ones[0].batch.series, (std::vector<SeriesBlock>{{"rank/512/step_ms", {{1, 1, 1, 256.0}}}}));
        QCOMPARE(somes.size(), std::size_t{2});
        QCOMPARE(somes[0].batch.series.size(), std::size_t{1});
        QCOMPARE(pointCount(somes[0].batch), std::size_t{2});
        QCOMPARE(somes[1].news, somes[0].news + 1); // what was not wanted leaves no hole
        QCOMPARE(somes[1].pointsBefore, somes[0].pointsBefore + 2);
        QCOMPARE(alls.size(), std::size_t{3});
        QCOMPARE(pointCount(alls[1].batch), std::size_t{2002});
    }

    void globsMeanWhatHistoryMeans_data() {
        QTest::addColumn<std::string>("pattern");
        QTest::addColumn<std::string>("name");
        QTest::addColumn<bool>("matches");
        const auto row = [](const char* pattern, const char* name, bool matches) {
            QTest::addRow("%s ~ %s", pattern, name) << std::string(pattern) << std::string(name) << matches;
        };
        row("train/loss", "train/loss", true);
        row("train/loss", "train/loss2", false);
        row("bpb/*", "bpb/Code", true);
        row("bpb/*", "bpb", false);
        row("*", "any/thing", true);
        row("rank/*/step_ms", "rank/3/step_ms", true);
        row("rank/*/step_ms", "rank/3/deep/step_ms", true);
        row("rank/*/step_ms", "rank/3/memory_bytes", false);
        row("rank/?/step_ms", "rank/31/step_ms", false);
        row("layer[3]/norm", "layer[3]/norm", true); // no wildcard: a name
        row("layer[34]/*", "layer4/norm", true);
        row("layer[34]/*", "layer5/norm", false);
    }
    void globsMeanWhatHistoryMeans() {
        QFETCH(std::string, pattern);
        QFETCH(std::string, name);
        QFETCH(bool, matches);
        QCOMPARE(SeriesFilter({pattern}).matches(name), matches);
        QVERIFY(SeriesFilter().matches(name));
    }

    void topicsAreNobodysBeginning() {
        const std::vector<LiveSubscription> wants = {{"", {}}, {"demo", {}}, {"demo", {"a"}}, {"demo", {"a", "b"}}, {"demo-2", {}}, {"", {"a"}}, {"d", {"emo"}}};
        for (const LiveSubscription& a : wants) {
            const auto back = parseTopic(topicOf(a));
            QVERIFY(back && back->run == a.run && back->series == a.series);
            for (const LiveSubscription& b : wants)
                QCOMPARE(topicOf(a).starts_with(topicOf(b)), &a == &b);
        }
        for (const std::string& bad : {std::string("live2/"), std::string("live2/demo"), std::string("live2/demo\0a", 12), std::string("live2/demo\0\0x", 13), std::string("run/demo")})
            QVERIFY(!parseTopic(bad));
    }

    // One does not read at all; publishing goes on, and another gets everything. Then the slow one is told how much it missed.
    void aSlowSubscriberBlocksNobodyAndIsTold() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "e");
        auto slow = makeLiveSubscriber((*publisher)->endpoint());
        auto quick = makeLiveSubscriber((*publisher)->endpoint());
        QVERIFY(warmUp(**publisher, **slow, "demo"));
        QVERIFY(warmUp(**publisher, **quick, "demo"));
        NewsLedger slowLedger, quickLedger;
        std::uint64_t slowPoints = 0, slowMissed = 0, quickPoints = 0, published = 0;
        (*publisher)->publish(newsOf("demo", 1)); // both begin with this one
        for (const News& news : drain(**slow))
            slowLedger.see(news);
        for (const News& news : drain(**quick))
            quickLedger.see(news);
        News big = newsOf("demo", 1);
        for (int i = 0; i < 999; ++i)
            big.batch.series[0].points.push_back({i, i, i, 0.5 * i});
        bool quickHasAll = true;
        const auto takeQuick = [&](int timeoutMs) {
            auto got = (*quick)->receive(timeoutMs);
            if (!got || !*got)
                return false;
            quickHasAll = quickHasAll && quickLedger.see(**got).order == NewsOrder::Next;
            quickPoints += pointCount((*got)->batch);
            return true;
        };
        constexpr int kCount = 40'000; // beyond both queues and the kernel's buffers
        for (int i = 0; i < kCount; ++i) {
            (*publisher)->publish(big);
            published += 1000;
            while (takeQuick(0)) {
            }
            while (published - quickPoints > 500'000) // never so far behind that its own queue would be full
                QVERIFY(takeQuick(20'000));
        }
        while (quickPoints < published)
            QVERIFY(takeQuick(20'000));
        QVERIFY2(quickHasAll, "the quick one missed news");
        for (const News& news : drain(**slow)) {
            slowMissed += slowLedger.see(news).missedPoints.value_or(0);
            slowPoints += pointCount(news.batch);
        }
        QVERIFY(slowPoints < published);
        QVERIFY((*slow)->connected());
        // Nothing more happens, and yet it hears of the last ones that it missed.
        QVERIFY(QTest::qWaitFor([&] {
            (*publisher)->beat();
            const auto got = (*slow)->receive(20);
            if (!got || !*got)
                return false;
            slowMissed += slowLedger.see(**got).missedPoints.value_or(0);
            return (*got)->beat;
        }, 20'000));
        QCOMPARE(slowPoints + slowMissed, published);
    }

    // As when a network was away: it comes back to its numbers, and they tell what passed.
    void aSubscriptionTakenUpAgainCountsOn() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "e");
        const LiveSubscription want{"demo", {"train/loss"}};
        NewsLedger ledger;
        std::uint64_t published = 0, seen = 0, missed = 0;
        const auto publish = [&] {
            (*publisher)->publish(newsOf("demo", static_cast<std::int64_t>(++published)));
            return (*publisher)->counters().subscriptions;
        };
        auto first = makeLiveSubscriber((*publisher)->endpoint(), want);
        QVERIFY(QTest::qWaitFor([&] { return publish() == 1; }, 20'000));
        publish();
        std::uint64_t before = 0; // that were published before it was there
        for (const News& news : drain(**first)) {
            before = seen == 0 ? news.batch.sequence - 1 : before;
            ledger.see(news);
            ++seen;
        }
        QVERIFY(seen > 0);
        first->reset();
        QVERIFY(QTest::qWaitFor([&] { return publish() == 0; }, 20'000));
        publish();
        auto second = makeLiveSubscriber((*publisher)->endpoint(), want);
        QVERIFY(QTest::qWaitFor([&] { return publish() == 1; }, 20'000));
        publish();
        bool isFirst = true;
        for (const News& news : drain(**second)) {
            const auto verdict = ledger.see(news);
            QCOMPARE(verdict.order, isFirst ? NewsOrder::Hole : NewsOrder::Next);
            QVERIFY(!isFirst || verdict.missedPoints);
            missed += verdict.missedPoints.value_or(0);
            isFirst = false;
            ++seen;
        }
        QVERIFY(missed > 0);
        QCOMPARE(before + seen + missed, published);
    }

    void nobodyListensAndItIsCounted() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "e");
        for (int i = 0; i < 10; ++i)
            (*publisher)->publish(newsOf("demo", i));
        (*publisher)->beat();
        const LiveCounters counters = (*publisher)->counters();
        QCOMPARE(counters.subscriptions, std::uint64_t{0});
        QCOMPARE(counters.messages, std::uint64_t{0});
        QCOMPARE(counters.points.at("demo"), std::uint64_t{10});
    }

    void aClientOfThePreviousVersionIsServed() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "e");
        auto whole = makeLiveSubscriber((*publisher)->endpoint(), {"demo", {}, 1});
        auto part = makeLiveSubscriber((*publisher)->endpoint(), {"demo", {"valid/*"}, 1});
        QVERIFY(warmUp(**publisher, **whole, "demo"));
        QVERIFY(warmUp(**publisher, **part, "demo"));
        drain(**whole);
        drain(**part);
        News news = newsOf("demo", 5);
        news.batch.series.push_back({"valid/loss", {{5, 5, 5, 5.0}}});
        (*publisher)->publish(news);
        (*publisher)->publish(newsOf("demo-2", 6));
        const auto wholes = drain(**whole), parts = drain(**part);
        QCOMPARE(wholes.size(), std::size_t{1});
        QCOMPARE(wholes[0].batch, news.batch);
        QCOMPARE(parts.size(), std::size_t{1});
        QCOMPARE(parts[0].batch.series.size(), std::size_t{1});
        QVERIFY(!makeLiveSubscriber((*publisher)->endpoint(), {"demo", {}, 0}));
    }

    void connectedFollowsThePublisher() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "e1");
        const std::string endpoint = (*publisher)->endpoint();
        auto subscriber = makeLiveSubscriber(endpoint);
        QVERIFY(warmUp(**publisher, **subscriber, "demo"));
        publisher->reset();
        QTRY_VERIFY_WITH_TIMEOUT(!(*subscriber)->connected(), 20000);
        publisher = makeLivePublisher(endpoint, "e2");
        QVERIFY2(publisher.has_value(), publisher ? "" : publisher.error().text().c_str());
        QVERIFY(warmUp(**publisher, **subscriber, "demo")); // by itself again
        QVERIFY((*subscriber)->connected());
    }

    void strangeFramesAreErrorsAndTheStreamGoesOn() {
        const ZmqContext context;
        ZmqSocket raw(context, ZMQ_XPUB);
        QVERIFY(raw.bind("tcp://127.0.0.1:*").has_value());
        auto subscriber = makeLiveSubscriber(raw.lastEndpoint());
        std::vector<std::string> subscription;
        QTRY_VERIFY_WITH_TIMEOUT(!subscription.empty() || raw.receive(subscription), 20000);
        const std::string topic = topicOf({});
        raw.send({topic});
        raw.send({topic, "\xff\xff\xff not protobuf", littleEndian(1)});
        raw.send({topic, "", littleEndian(3)}); // empty news are number 0
        raw.send({topic, "", littleEndian(0)});
        for (int i = 0; i < 3; ++i) {
            const auto got = (*subscriber)->receive(10000);
            QVERIFY(!got);
            QCOMPARE(got.error().code, ErrorCode::DataLoss);
        }
        const auto good = (*subscriber)->receive(10000);
        QVERIFY(good && *good);
    }

    void endpointsAreChecked() {
        const auto taken = makeLivePublisher("tcp://127.0.0.1:*", "e");
        const auto second = makeLivePublisher((*taken)->endpoint(), "e");
        QVERIFY(!second && second.error().code == ErrorCode::AlreadyExists);
        QVERIFY(second.error().text().find((*taken)->endpoint()) != std::string::npos);
        QVERIFY(second.error().text().find("another port") != std::string::npos);
        const auto afar = makeLivePublisher("tcp://0.0.0.0:*", "e");
        QVERIFY(!afar && afar.error().code == ErrorCode::InvalidArgument);
        QVERIFY(afar.error().text().find("loopback") != std::string::npos);
        QVERIFY(!makeLiveSubscriber("tcp://example.org:7444"));
        QVERIFY(!makeLiveSubscriber("nonsense"));
    }
};

QTEST_GUILESS_MAIN(TestLive)
#include "tst_live.moc"
