// SPDX-License-Identifier: Apache-2.0
#include "daemon/metrics_server.h"

#include <thread>

#include <httplib.h>

#include "daemon/open_metrics.h"

namespace telehelm::daemon {
namespace {

class HttpMetricsServer final : public MetricsServer {
public:
    explicit HttpMetricsServer(std::function<Result<ipc::DaemonStatus>()> status) : m_status(std::move(status)) {
        m_server.new_task_queue = [] { return new httplib::ThreadPool(2); }; // a scraper or two
        m_server.set_keep_alive_timeout(1);                                  // an idle scraper does not hold up the end
        m_server.set_read_timeout(5);
        // The library's own options would let a second daemon share the port in silence.
        m_server.set_socket_options([](socket_t socket) {
            const int yes = 1;
            setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        });
        m_server.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) { answer(response); });
        m_server.Get("/", [](const httplib::Request&, httplib::Response& response) {
            response.set_content("telehelmd: its counters are at /metrics\n", "text/plain; charset=utf-8");
        });
    }
    ~HttpMetricsServer() override {
        m_server.stop();
        if (m_thread.joinable())
            m_thread.join();
    }
    Result<void> start(int port) {
        m_port = port == 0 ? m_server.bind_to_any_port("127.0.0.1") : m_server.bind_to_port("127.0.0.1", port) ? port : -1;
        if (m_port < 0)
            return fail(ErrorCode::AlreadyExists, "the port is taken by another program; stop it, or give --metrics-port another one (0: any)",
                        "127.0.0.1:" + std::to_string(port));
        m_thread = std::thread([this] { m_server.listen_after_bind(); });
        while (!m_server.is_running()) // else an early stop() would go unheard
            std::this_thread::yield();
        return {};
    }
    [[nodiscard]] int port() const override { return m_port; }

private:
    void answer(httplib::Response& response) const {
        const auto status = m_status();
        if (status)
            return response.set_content(openMetrics(*status), kOpenMetricsType);
        response.status = 503;
        response.set_content(status.error().text() + "\n", "text/plain; charset=utf-8");
    }

    const std::function<Result<ipc::DaemonStatus>()> m_status;
    httplib::Server m_server;
    int m_port = -1;
    std::thread m_thread;
};

} // namespace

Result<std::unique_ptr<MetricsServer>> serveMetrics(int port, std::function<Result<ipc::DaemonStatus>()> status) {
    auto server = std::make_unique<HttpMetricsServer>(std::move(status));
    if (auto started = server->start(port); !started)
        return tl::unexpected(started.error());
    return server;
}

} // namespace telehelm::daemon
