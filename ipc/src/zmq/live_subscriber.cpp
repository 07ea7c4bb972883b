// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include <zmq.h>

#include "convert/convert.h"
#include "telehelm/ipc/live.h"
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
    explicit ZmqLiveSubscriber(const std::string& endpoint)
        : m_endpoint(endpoint), m_socket(m_context, ZMQ_SUB), m_monitor(m_context, m_socket) {
        m_socket.setOption(ZMQ_RCVHWM, 16384);
        m_socket.setOption(ZMQ_RECONNECT_IVL, 100);
        m_socket.setOption(ZMQ_RECONNECT_IVL_MAX, 1000);
        m_socket.setOption(ZMQ_HEARTBEAT_IVL, 2000); // a hung daemon counts as gone after 6 s
        m_socket.setOption(ZMQ_HEARTBEAT_TIMEOUT, 6000);
    }
    Result<void> open(const std::string& run) {
        m_socket.subscribe(run.empty() ? std::string(kEveryTopic) : liveTopic(run));
        return m_socket.connect(m_endpoint);
    }

    Result<std::optional<News>> receive(int timeoutMs) override {
        using Clock = std::chrono::steady_clock;
        const auto until = Clock::now() + std::chrono::milliseconds(timeoutMs);
        std::vector<std::string> frames;
        for (;;) {
            m_monitor.update();
            if (m_socket.receive(frames))
                return parseNews(frames, m_endpoint).map([](News&& news) { return std::optional<News>(std::move(news)); });
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
    const std::string m_endpoint;
    ZmqContext m_context;
    ZmqSocket m_socket;
    mutable ZmqMonitor m_monitor; // reading its events changes what we know, not what is
};

} // namespace

Result<std::unique_ptr<LiveSubscriber>> makeLiveSubscriber(const std::string& endpoint, const std::string& run) {
    auto subscriber = std::make_unique<ZmqLiveSubscriber>(endpoint);
    if (auto opened = subscriber->open(run); !opened)
        return tl::unexpected(opened.error());
    return subscriber;
}

} // namespace telehelm::ipc
