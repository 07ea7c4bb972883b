// SPDX-License-Identifier: Apache-2.0
// The live stream: numbered news, per-run subscriptions, a slow listener that costs nobody anything, and strange frames.
#include <map>

#include <QTest>

#include <zmq.h>

#include "telehelm/ipc/live.h"
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
        auto subscriber = makeLiveSubscriber((*publisher)->endpoint(), "demo");
        QVERIFY(warmUp(**publisher, **subscriber, "demo"));
        drain(**subscriber);
        (*publisher)->publish(newsOf("demo-2", 7)); // has the other's name as its beginning
        (*publisher)->publish(newsOf("demo", 8));
        const auto got = drain(**subscriber);
        QCOMPARE(got.size(), std::size_t{1});
        QCOMPARE(got[0].batch.sequence, std::uint64_t{8});
    }

    void aSlowSubscriberBlocksNobodyAndSeesTheHole() {
        auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "e");
        auto slow = makeLiveSubscriber((*publisher)->endpoint());
        QVERIFY(warmUp(**publisher, **slow, "demo"));
        drain(**slow);
        News big = newsOf("demo", 1);
        for (int i = 0; i < 200; ++i)
            big.batch.series[0].points.push_back({i, i, i, 0.5 * i});
        constexpr int kCount = 60'000; // beyond both queues and the kernel's buffers
        for (int i = 0; i < kCount; ++i)
            (*publisher)->publish(big);
        std::uint64_t before = 0, holes = 0, seen = 0;
        // The link stands through all of it, and later news still come.
        for (int round = 0; round < 200 && holes == 0; ++round) {
            for (const News& news : drain(**slow, 20)) {
                holes += before != 0 && news.news != before + 1 ? 1 : 0;
                before = news.news;
                ++seen;
            }
            (*publisher)->publish(big);
        }
        QVERIFY(seen > 0 && seen < kCount);
        QVERIFY2(holes > 0, "news were dropped and the numbers do not show it");
        QVERIFY((*slow)->connected());
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
        const std::string topic = liveTopic("demo");
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
