// SPDX-License-Identifier: Apache-2.0
#include "telehelm/ipc/control_server.h"

#include <atomic>
#include <chrono>

#include <grpcpp/grpcpp.h>

#include "address.h"
#include "convert/convert.h"
#include "grpc/status.h"
#include "telehelm/v1/control.grpc.pb.h"

namespace telehelm::ipc {
namespace {

// A message of 4096 buckets stays below half a megabyte, far from any peer's limit.
constexpr std::size_t kBucketsPerMessage = 4096;
constexpr int kLargestMessageBytes = 64 << 20;

grpc::Status statusOf(const Result<void>& result) { return result ? grpc::Status::OK : toStatus(result.error()); }

template <typename Value, typename Wire>
grpc::Status answer(const Result<Value>& result, Wire& wire) {
    if (!result)
        return toStatus(result.error());
    toWire(*result, wire);
    return grpc::Status::OK;
}

template <typename Value, typename Field>
grpc::Status answerAll(const Result<std::vector<Value>>& result, Field& field) {
    if (!result)
        return toStatus(result.error());
    toWireAll(*result, field);
    return grpc::Status::OK;
}

/// gRPC's calls turned into calls of the api. Handlers run on gRPC's threads.
class ControlService final : public v1::Control::Service {
public:
    ControlService(ControlApi& api, const std::atomic<bool>& stopping) : m_api(api), m_stopping(stopping) {}

    grpc::Status Hello(grpc::ServerContext*, const v1::HelloRequest* request, v1::HelloInfo* reply) override {
        if (commonProtocol(request->protocol()) == 0)
            return toStatus({ErrorCode::VersionMismatch,
                             "this daemon speaks protocol " + std::to_string(kOldestProtocolVersion) + " to " +
                                 std::to_string(kProtocolVersion) + ", " + request->program() + " speaks protocol " +
                                 std::to_string(request->protocol()) + "; use programs of the same Telehelm release",
                             "telehelmd"});
        return answer(m_api.hello(request->protocol(), request->program()), *reply);
    }
    grpc::Status ListRuns(grpc::ServerContext*, const v1::ListRunsRequest*, v1::ListRunsReply* reply) override {
        return answerAll(m_api.listRuns(), *reply->mutable_runs());
    }
    grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest* request, v1::RunInfo* reply) override {
        return answer(m_api.getRun(request->run()), *reply);
    }
    grpc::Status StartRun(grpc::ServerContext*, const v1::StartRunRequest* request, v1::RunInfo* reply) override {
        StartRequest start;
        fromWire(*request, start);
        return answer(m_api.startRun(start), *reply);
    }
    grpc::Status DeleteRun(grpc::ServerContext*, const v1::DeleteRunRequest* request, v1::DeletedRun* reply) override {
        DeleteRequest deletion;
        fromWire(*request, deletion);
        return answer(m_api.deleteRun(deletion), *reply);
    }
    grpc::Status ListDeletedRuns(grpc::ServerContext*, const v1::ListDeletedRunsRequest*, v1::ListDeletedRunsReply* reply) override {
        return answerAll(m_api.listDeletedRuns(), *reply->mutable_runs());
    }
    grpc::Status ImportRun(grpc::ServerContext* context, const v1::ImportRunRequest* request, grpc::ServerWriter<v1::ImportUpdate>* writer) override {
        ImportRequest import;
        fromWire(*request, import);
        v1::ImportUpdate update;
        const auto report = m_api.importRun(import, [&](const ImportProgress& progress) {
            toWire(progress, update);
            return goesOn(*context) && writer->Write(update);
        });
        if (!report)
            return toStatus(report.error());
        toWire(*report, *update.mutable_report());
        writer->Write(update);
        return grpc::Status::OK;
    }
    grpc::Status Submit(grpc::ServerContext*, const v1::Command* request, v1::Command* reply) override {
        Command command;
        if (auto ok = fromWire(*request, command); !ok)
            return toStatus(ok.error());
        return answer(m_api.submit(command), *reply);
    }
    grpc::Status GetCommand(grpc::ServerContext*, const v1::GetCommandRequest* request, v1::Command* reply) override {
        return answer(m_api.getCommand(request->id()), *reply);
    }
    grpc::Status ListCommands(grpc::ServerContext*, const v1::ListCommandsRequest* request,
                              v1::ListCommandsReply* reply) override {
        return answerAll(m_api.listCommands({request->run(), request->since_us(), request->limit()}), *reply->mutable_commands());
    }
    grpc::Status ListEvents(grpc::ServerContext*, const v1::ListEventsRequest* request, v1::ListEventsReply* reply) override {
        return answerAll(m_api.listEvents({request->run(), request->after_id(), request->limit()}), *reply->mutable_events());
    }
    grpc::Status AddNote(grpc::ServerContext*, const v1::Event* request, v1::Event* reply) override {
        Event note;
        if (auto ok = fromWire(*request, note); !ok)
            return toStatus(ok.error());
        return answer(m_api.addNote(note), *reply);
    }
    grpc::Status ListCheckpoints(grpc::ServerContext*, const v1::ListCheckpointsRequest* request,
                                 v1::ListCheckpointsReply* reply) override {
        return answerAll(m_api.listCheckpoints(request->run()), *reply->mutable_checkpoints());
    }
    grpc::Status ListSeries(grpc::ServerContext*, const v1::ListSeriesRequest* request, v1::ListSeriesReply* reply) override {
        SeriesListQuery query;
        fromWire(*request, query);
        return answer(m_api.listSeries(query), *reply);
    }
    grpc::Status GetLineage(grpc::ServerContext*, const v1::GetLineageRequest* request, v1::LineageInfo* reply) override {
        return answer(m_api.lineage(request->run()), *reply);
    }
    grpc::Status QuerySeries(grpc::ServerContext* context, const v1::SeriesQuery* request,
                             grpc::ServerWriter<v1::SeriesSegment>* writer) override {
        SeriesQuery query;
        if (auto ok = fromWire(*request, query); !ok)
            return toStatus(ok.error());
        return statusOf(m_api.querySeries(
            query, [&](SeriesSegment&& segment) { return goesOn(*context) && writeSegment(segment, *writer); }));
    }
    grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                       grpc::ServerWriter<v1::WatchUpdate>* writer) override {
        return statusOf(m_api.watch(request->run(), [&](WatchUpdate&& update) {
            if (!goesOn(*context))
                return false;
            v1::WatchUpdate wire;
            toWire(update, wire);
            return writer->Write(wire);
        }));
    }
    grpc::Status Status(grpc::ServerContext*, const v1::StatusRequest*, v1::StatusReply* reply) override {
        return answer(m_api.status(), *reply);
    }
    grpc::Status Report(grpc::ServerContext*, const v1::ClientCounters* request, v1::ReportReply*) override {
        ClientCounters client;
        if (auto ok = fromWire(*request, client); !ok)
            return toStatus(ok.error());
        return statusOf(m_api.report(client));
    }
    grpc::Status Shutdown(grpc::ServerContext*, const v1::ShutdownRequest* request, v1::ShutdownReply*) override {
        return statusOf(m_api.shutdown(request->stop_jobs()));
    }

private:
    [[nodiscard]] bool goesOn(const grpc::ServerContext& context) const { return !m_stopping && !context.IsCancelled(); }

    static bool writeSegment(SeriesSegment& segment, grpc::ServerWriter<v1::SeriesSegment>& writer) {
        const std::vector<Bucket> all = std::move(segment.buckets);
        for (std::size_t from = 0;; from += kBucketsPerMessage) {
            const std::size_t to = std::min(all.size(), from + kBucketsPerMessage);
            segment.buckets.assign(all.begin() + static_cast<std::ptrdiff_t>(from), all.begin() + static_cast<std::ptrdiff_t>(to));
            v1::SeriesSegment wire;
            toWire(segment, wire);
            wire.set_more(to < all.size());
            segment.missing.clear(); // told with the first part
            if (!writer.Write(wire))
                return false;
            if (to == all.size())
                return true;
        }
    }

    ControlApi& m_api;
    const std::atomic<bool>& m_stopping;
};

class GrpcControlServer final : public ControlServer {
public:
    explicit GrpcControlServer(ControlApi& api) : m_service(api, m_stopping) {}
    ~GrpcControlServer() override {
        m_stopping = true; // watches see it at their next beat
        if (m_server)
            m_server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
    }

    Result<void> start(const HostPort& address) {
        if (auto isFree = checkPortFree(address); !isFree)
            return isFree;
        grpc::ServerBuilder builder;
        // Without this a second daemon would share the port in silence and get half of the calls.
        builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
        builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
        builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
        builder.SetMaxReceiveMessageSize(kLargestMessageBytes);
        builder.AddListeningPort(address.text(), grpc::InsecureServerCredentials(), &m_port);
        builder.RegisterService(&m_service);
        m_server = builder.BuildAndStart();
        if (!m_server || m_port <= 0)
            return fail(ErrorCode::Unavailable, "the control service cannot listen here; choose another port, or port 0 for any free one",
                        address.text());
        return {};
    }
    [[nodiscard]] int port() const override { return m_port; }

private:
    std::atomic<bool> m_stopping{false};
    ControlService m_service;
    int m_port = 0;
    std::unique_ptr<grpc::Server> m_server;
};

} // namespace

Result<std::unique_ptr<ControlServer>> serveControl(ControlApi& api, const std::string& address) {
    const auto parsed = parseLoopbackAddress(address);
    if (!parsed)
        return tl::unexpected(parsed.error());
    auto server = std::make_unique<GrpcControlServer>(api);
    if (auto started = server->start(*parsed); !started)
        return tl::unexpected(started.error());
    return server;
}

} // namespace telehelm::ipc
