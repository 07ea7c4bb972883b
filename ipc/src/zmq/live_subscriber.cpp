// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include <zmq.h>

#include "convert/convert.h"
#include "telehelm/ipc/live.h"
#include "telehelm/ipc/series_filter.h"
#include "zmq/live_frames.h"
#include "zmq/socket.h"

namespace telehelm::ipc {
namespace {

Result<News> parseNews(const std::vector<std::string>& frames, const std::string& endpoint) {
    if (frames.size() != 3 || frames[2].size() != 8)
        return fail(ErrorCode::DataLoss, "a live message has " + std::to_string(frames.size()) + " frames instead of topic, news, number",
                    endpoint);
    v1::News wire;
    if (!wire.ParseFromString(frames[1]))
        return fail(ErrorCode::DataLoss, "live news of " + std::to_string(frames[1].size()) + " bytes cannot be read", endpoint);
    News news;
    if (auto ok = fromWire(wire, news); !ok)
        return tl::unexpected(ok.error());
    if (news.news != fromLittleEndian(frames[2]))
        return fail(ErrorCode::DataLoss, "live news and its number frame disagree", endpoint);
    return news;
}

class ZmqLiveSubscriber final : public LiveSubscriber {
public:
    ZmqLiveSubscriber(const std::string& endpoint, const LiveSubscription& want)
        : m_endpoint(endpoint), m_want(want), m_filter(want.series), m_socket(m_context, ZMQ_SUB), m_monitor(m_context, m_socket) {
        m_socket.setOption(ZMQ_RCVHWM, 16384);
        m_socket.setOption(ZMQ_RECONNECT_IVL, 100);
        m_socket.setOption(ZMQ_RECONNECT_IVL_MAX, 1000);
        // Not ZeroMQ's heartbeats: with a full queue they break a sound link and then abort the program (libzmq issue 3937). A
        // network that went away in silence shows after 8 s all the same.
        m_socket.setOption(ZMQ_TCP_KEEPALIVE, 1);
        m_socket.setOption(ZMQ_TCP_KEEPALIVE_IDLE, 2);
        m_socket.setOption(ZMQ_TCP_KEEPALIVE_INTVL, 2);
        m_socket.setOption(ZMQ_TCP_KEEPALIVE_CNT, 3);
    }
    Result<void> open() {
        if (commonProtocol(m_want.protocol) == 0)
            return fail(ErrorCode::VersionMismatch, "protocol " + std::to_string(m_want.protocol) + " is not spoken any more", m_endpoint);
        for (const std::string& series : m_want.series)
            if (series.empty() || series.find('\0') != std::string::npos)
                return fail(ErrorCode::InvalidArgument, "a series' name is not empty and has no zero byte", m_endpoint);
        const std::string topic = isV1() ? (m_want.run.empty() ? std::string(kEveryRunV1) : topicV1(m_want.run)) : topicOf(m_want);
        if (topic.size() > kLongestTopic)
            return fail(ErrorCode::InvalidArgument,
                        "a subscription of " + std::to_string(topic.size()) + " bytes is too long (at most " + std::to_string(kLongestTopic) +
                            "); use globs, or leave the series out",
                        m_endpoint);
        m_socket.subscribe(topic);
        return m_socket.connect(m_endpoint);
    }

    Result<std::optional<News>> receive(int timeoutMs) override {
        using Clock = std::chrono::steady_clock;
        const auto until = Clock::now() + std::chrono::milliseconds(timeoutMs);
        std::vector<std::string> frames;
        for (;;) {
            m_monitor.update();
            if (m_socket.receive(frames))
                return parseNews(frames, m_endpoint).map([this](News&& news) {
                    if (isV1()) // that daemon knows no series; the numbers go on, so the message stays, if without points
                        std::erase_if(news.batch.series, [this](const SeriesBlock& block) { return !m_filter.matches(block.name); });
                    return std::optional<News>(std::move(news));
                });
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
            if (left <= 0)
                return std::optional<News>();
            zmq_pollitem_t items[] = {{m_socket.handle(), 0, ZMQ_POLLIN, 0}, {m_monitor.handle(), 0, ZMQ_POLLIN, 0}};
            zmq_poll(items, 2, static_cast<long>(left));
        }
    }
    [[nodiscard]] bool connected() const override {
        m_monitor.update();
        return m_monitor.connected();
    }

private:
    [[nodiscard]] bool isV1() const { return m_want.protocol < 2; }

    const std::string m_endpoint;
    const LiveSubscription m_want;
    const SeriesFilter m_filter;
    ZmqContext m_context;
    ZmqSocket m_socket;
    mutable ZmqMonitor m_monitor; // reading its events changes what we know, not what is
};

} // namespace

Result<std::unique_ptr<LiveSubscriber>> makeLiveSubscriber(const std::string& endpoint, const LiveSubscription& subscription) {
    auto subscriber = std::make_unique<ZmqLiveSubscriber>(endpoint, subscription);
    if (auto opened = subscriber->open(); !opened)
        return tl::unexpected(opened.error());
    return subscriber;
}

} // namespace telehelm::ipc
