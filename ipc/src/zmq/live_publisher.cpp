// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <mutex>

#include <zmq.h>

#include "convert/convert.h"
#include "telehelm/ipc/live.h"
#include "zmq/live_frames.h"
#include "zmq/socket.h"

namespace telehelm::ipc {
namespace {

// Messages that may wait for one subscriber; beyond it that subscriber loses news and sees a hole in the numbers.
constexpr int kHighWaterMark = 8192;

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
        // XPUB hands subscriptions to its owner; they are of no interest, but unread ones would pile up.
        std::vector<std::string> subscriptions;
        while (m_socket.receive(subscriptions)) {
        }
        const std::string& run = runOf(news);
        news.epoch = m_epoch;
        news.news = ++m_numbers[run];
        news.publishedUs = nowUs();
        v1::News wire;
        toWire(news, wire);
        m_socket.send({liveTopic(run), wire.SerializeAsString(), littleEndian(news.news)});
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

    // constant after bind()
    const std::string m_epoch;
    std::string m_endpoint;
    // guarded by m_mutex
    std::mutex m_mutex;
    ZmqContext m_context;
    ZmqSocket m_socket;
    std::map<std::string, std::uint64_t> m_numbers; // newest news number per run
};

} // namespace

Result<std::unique_ptr<LivePublisher>> makeLivePublisher(const std::string& endpoint, const std::string& epoch) {
    auto publisher = std::make_unique<ZmqLivePublisher>(epoch);
    if (auto bound = publisher->bind(endpoint); !bound)
        return tl::unexpected(bound.error());
    return publisher;
}

} // namespace telehelm::ipc
