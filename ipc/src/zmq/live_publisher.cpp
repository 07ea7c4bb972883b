// SPDX-License-Identifier: Apache-2.0
#include <mutex>

#include <zmq.h>

#include "convert/convert.h"
#include "telehelm/ipc/live.h"
#include "zmq/live_streams.h"
#include "zmq/socket.h"

namespace telehelm::ipc {
namespace {

// Messages that may wait for one subscriber; beyond it that subscriber loses news and sees a hole in the numbers. At most some
// 10 kB each, and shared by all subscribers of a topic.
constexpr int kHighWaterMark = 2048;

class ZmqLivePublisher final : public LivePublisher {
public:
    explicit ZmqLivePublisher(std::string epoch) : m_epoch(std::move(epoch)), m_socket(m_context, ZMQ_XPUB) {
        m_socket.setOption(ZMQ_SNDHWM, kHighWaterMark);
    }
    Result<void> bind(const std::string& endpoint) {
        return m_socket.bind(endpoint).map([this] { m_endpoint = m_socket.lastEndpoint(); });
    }

    void publish(News news) override {
        const std::lock_guard lock(m_mutex);
        takeSubscriptions();
        news.epoch = m_epoch;
        news.publishedUs = nowUs();
        v1::News wire;
        toWire(news, wire);
        m_streams.publish(runOf(news), wire, pointCount(news.batch), LiveStreams::Clock::now(), m_send);
    }
    void beat() override {
        const std::lock_guard lock(m_mutex);
        takeSubscriptions();
        m_streams.beat(m_epoch, nowUs(), LiveStreams::Clock::now(), m_send);
    }
    [[nodiscard]] LiveCounters counters() const override {
        const std::lock_guard lock(m_mutex);
        return {m_streams.subscriptions(), m_messages, m_streams.points()};
    }
    [[nodiscard]] std::string endpoint() const override { return m_endpoint; }

private:
    // News without points still belong to the run of what changed.
    static const std::string& runOf(const News& news) {
        if (news.batch.key.run.empty() && news.attempt)
            return news.attempt->key.run;
        if (news.batch.key.run.empty() && news.command)
            return news.command->key.run;
        return news.batch.key.run;
    }
    void takeSubscriptions() {
        std::vector<std::string> message;
        while (m_socket.receive(message))
            m_streams.take(message.front(), LiveStreams::Clock::now());
    }

    // constant after bind()
    const std::string m_epoch;
    std::string m_endpoint;
    // guarded by m_mutex
    mutable std::mutex m_mutex;
    ZmqContext m_context;
    ZmqSocket m_socket;
    LiveStreams m_streams;
    std::uint64_t m_messages = 0;
    const LiveStreams::Send m_send = [this](const std::string& topic, const std::string& body, std::uint64_t number) {
        m_socket.send({topic, body, littleEndian(number)});
        ++m_messages;
    };
};

} // namespace

Result<std::unique_ptr<LivePublisher>> makeLivePublisher(const std::string& endpoint, const std::string& epoch) {
    auto publisher = std::make_unique<ZmqLivePublisher>(epoch);
    if (auto bound = publisher->bind(endpoint); !bound)
        return tl::unexpected(bound.error());
    return publisher;
}

} // namespace telehelm::ipc
