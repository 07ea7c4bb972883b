// SPDX-License-Identifier: Apache-2.0
#include "telehelm/ipc/control_client.h"

#include <chrono>

#include <grpcpp/grpcpp.h>

#include "convert/convert.h"
#include "grpc/status.h"
#include "grpc/stream_reader.h"
#include "telehelm/v1/control.grpc.pb.h"

namespace telehelm::ipc {
namespace {

std::shared_ptr<grpc::Channel> makeChannel(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000); // gRPC's own two minutes would look like a dead daemon
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);           // http_proxy is not meant for loopback
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);   // a client's back-off is its own
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

/// Thread safety: all methods from any thread; the stub is thread-safe and nothing else is shared.
class GrpcControlClient final : public ControlApi {
public:
    GrpcControlClient(const std::string& address, int timeoutMs)
        : m_address(address), m_timeoutMs(timeoutMs), m_stub(v1::Control::NewStub(makeChannel(address))) {}

    Result<HelloInfo> hello(std::uint32_t clientProtocol, const std::string& clientProgram) override {
        // A daemon that knows no newer number than its own refuses ours; then it is asked in its own.
        auto info = helloIn(clientProtocol, clientProgram);
        const auto isRefused = [](const auto& answer) { return !answer && answer.error().code == ErrorCode::VersionMismatch; };
        for (std::uint32_t older = clientProtocol; isRefused(info) && older > kOldestProtocolVersion;)
            if (auto again = helloIn(--older, clientProgram); !isRefused(again))
                return again;
        return info;
    }
    Result<std::vector<RunInfo>> listRuns() override {
        return callForAll<RunInfo, v1::ListRunsReply>(&v1::Control::Stub::ListRuns, v1::ListRunsRequest(),
                                                      [](const auto& reply) -> auto& { return reply.runs(); });
    }
    Result<RunInfo> getRun(const std::string& run) override {
        v1::GetRunRequest request;
        request.set_run(mendUtf8(run));
        return callFor<RunInfo, v1::RunInfo>(&v1::Control::Stub::GetRun, request);
    }
    Result<RunInfo> startRun(const StartRequest& start) override {
        v1::StartRunRequest request;
        toWire(start, request);
        return callFor<RunInfo, v1::RunInfo>(&v1::Control::Stub::StartRun, request);
    }
    Result<DeletedRun> deleteRun(const DeleteRequest& deletion) override {
        v1::DeleteRunRequest request;
        toWire(deletion, request);
        return callFor<DeletedRun, v1::DeletedRun>(&v1::Control::Stub::DeleteRun, request);
    }
    Result<std::vector<DeletedRun>> listDeletedRuns() override {
        return callForAll<DeletedRun, v1::ListDeletedRunsReply>(&v1::Control::Stub::ListDeletedRuns, v1::ListDeletedRunsRequest(),
                                                                [](const auto& reply) -> auto& { return reply.runs(); });
    }
    Result<ImportReport> importRun(const ImportRequest& import, const std::function<bool(const ImportProgress&)>& progress) override;
    Result<Command> submit(const Command& command) override {
        v1::Command request;
        toWire(command, request);
        return callFor<Command, v1::Command>(&v1::Control::Stub::Submit, request);
    }
    Result<Command> getCommand(const std::string& id) override {
        v1::GetCommandRequest request;
        request.set_id(mendUtf8(id));
        return callFor<Command, v1::Command>(&v1::Control::Stub::GetCommand, request);
    }
    Result<std::vector<Command>> listCommands(const CommandQuery& query) override {
        v1::ListCommandsRequest request;
        request.set_run(mendUtf8(query.run));
        request.set_since_us(query.sinceUs);
        request.set_limit(query.limit);
        return callForAll<Command, v1::ListCommandsReply>(&v1::Control::Stub::ListCommands, request,
                                                          [](const auto& reply) -> auto& { return reply.commands(); });
    }
    Result<std::vector<Event>> listEvents(const EventQuery& query) override {
        v1::ListEventsRequest request;
        request.set_run(mendUtf8(query.run));
        request.set_after_id(query.afterId);
        request.set_limit(query.limit);
        return callForAll<Event, v1::ListEventsReply>(&v1::Control::Stub::ListEvents, request,
                                                      [](const auto& reply) -> auto& { return reply.events(); });
    }
    Result<Event> addNote(const Event& note) override {
        v1::Event request;
        toWire(note, request);
        return callFor<Event, v1::Event>(&v1::Control::Stub::AddNote, request);
    }
    Result<std::vector<CheckpointInfo>> listCheckpoints(const std::string& run) override {
        v1::ListCheckpointsRequest request;
        request.set_run(mendUtf8(run));
        return callForAll<CheckpointInfo, v1::ListCheckpointsReply>(
            &v1::Control::Stub::ListCheckpoints, request, [](const auto& reply) -> auto& { return reply.checkpoints(); });
    }
    Result<SeriesPage> listSeries(const SeriesListQuery& query) override {
        v1::ListSeriesRequest request;
        toWire(query, request);
        return callFor<SeriesPage, v1::ListSeriesReply>(&v1::Control::Stub::ListSeries, request);
    }
    Result<LineageInfo> lineage(const std::string& run) override {
        v1::GetLineageRequest request;
        request.set_run(mendUtf8(run));
        return callFor<LineageInfo, v1::LineageInfo>(&v1::Control::Stub::GetLineage, request);
    }
    Result<void> querySeries(const SeriesQuery& query, const std::function<bool(SeriesSegment&&)>& sink) override;
    Result<void> watch(const std::string& run, const std::function<bool(WatchUpdate&&)>& sink) override;
    Result<void> shutdown(bool stopJobs) override {
        v1::ShutdownRequest request;
        request.set_stop_jobs(stopJobs);
        return call<v1::ShutdownReply>(&v1::Control::Stub::Shutdown, request).map([](const auto&) {});
    }

    Result<DaemonStatus> status() override {
        return callFor<DaemonStatus, v1::StatusReply>(&v1::Control::Stub::Status, v1::StatusRequest());
    }
    Result<void> report(const ClientCounters& client) override {
        v1::ClientCounters request;
        toWire(client, request);
        return call<v1::ReportReply>(&v1::Control::Stub::Report, request).map([](const auto&) {});
    }

private:
    Result<HelloInfo> helloIn(std::uint32_t protocol, const std::string& program) {
        v1::HelloRequest request;
        request.set_protocol(protocol);
        request.set_program(mendUtf8(program));
        return callFor<HelloInfo, v1::HelloInfo>(&v1::Control::Stub::Hello, request)
            .and_then([&](HelloInfo info) -> Result<HelloInfo> {
                if (info.protocol > protocol || commonProtocol(info.protocol) == 0)
                    return fail(ErrorCode::VersionMismatch,
                                info.program + " speaks protocol " + std::to_string(info.protocol) + ", this program protocol " +
                                    std::to_string(kOldestProtocolVersion) + " to " + std::to_string(protocol) +
                                    "; use programs of the same Telehelm release",
                                m_address);
                return info;
            });
    }

    template <typename Reply, typename Request>
    Result<Reply> call(grpc::Status (v1::Control::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                       const Request& request) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(m_timeoutMs));
        Reply reply;
        if (const grpc::Status status = (m_stub.get()->*method)(&context, request, &reply); !status.ok())
            return tl::unexpected(fromStatus(status, m_address, m_timeoutMs));
        return reply;
    }
    template <typename Value, typename Reply, typename Request>
    Result<Value> callFor(grpc::Status (v1::Control::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                          const Request& request) {
        auto reply = call<Reply>(method, request);
        if (!reply)
            return tl::unexpected(reply.error());
        Value value;
        if (auto ok = fromWire(*reply, value); !ok)
            return tl::unexpected(ok.error());
        return value;
    }
    template <typename Value, typename Reply, typename Request, typename Field>
    Result<std::vector<Value>> callForAll(grpc::Status (v1::Control::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                                          const Request& request, Field field) {
        auto reply = call<Reply>(method, request);
        if (!reply)
            return tl::unexpected(reply.error());
        std::vector<Value> values;
        if (auto ok = fromWireAll(field(*reply), values); !ok)
            return tl::unexpected(ok.error());
        return values;
    }

    // constant after construction
    const std::string m_address;
    const int m_timeoutMs;
    const std::unique_ptr<v1::Control::Stub> m_stub;
};

Result<void> GrpcControlClient::querySeries(const SeriesQuery& query, const std::function<bool(SeriesSegment&&)>& sink) {
    v1::SeriesQuery request;
    toWire(query, request);
    std::optional<SeriesSegment> open; // a long stretch comes in several messages
    const auto take = [&](const v1::SeriesSegment& wire) -> Result<bool> {
        SeriesSegment part;
        if (auto ok = fromWire(wire, part); !ok)
            return tl::unexpected(ok.error());
        if (open) {
            open->buckets.insert(open->buckets.end(), part.buckets.begin(), part.buckets.end());
            open->ema = part.ema;
        } else {
            open = std::move(part);
        }
        if (wire.more())
            return true;
        SeriesSegment segment = std::move(*open);
        open.reset();
        return sink(std::move(segment));
    };
    StreamReader<v1::SeriesSegment> reader(m_address, m_timeoutMs);
    return reader.run([&](grpc::ClientContext* context, grpc::CompletionQueue* queue, void* tag) {
        return m_stub->AsyncQuerySeries(context, request, queue, tag);
    }, take, [] { return true; });
}

Result<void> GrpcControlClient::watch(const std::string& run, const std::function<bool(WatchUpdate&&)>& sink) {
    v1::WatchRequest request;
    request.set_run(mendUtf8(run));
    const auto take = [&](const v1::WatchUpdate& wire) -> Result<bool> {
        WatchUpdate update;
        if (auto ok = fromWire(wire, update); !ok)
            return tl::unexpected(ok.error());
        return sink(std::move(update));
    };
    StreamReader<v1::WatchUpdate> reader(m_address, m_timeoutMs);
    return reader.run([&](grpc::ClientContext* context, grpc::CompletionQueue* queue, void* tag) {
        return m_stub->AsyncWatch(context, request, queue, tag);
    }, take, [&] { return sink(WatchUpdate{}); });
}

Result<ImportReport> GrpcControlClient::importRun(const ImportRequest& import, const std::function<bool(const ImportProgress&)>& progress) {
    v1::ImportRunRequest request;
    toWire(import, request);
    std::optional<ImportReport> report;
    ImportProgress newest;
    bool isStopped = false;
    const auto goesOn = [&] { return !(isStopped = !progress(newest)); };
    const auto take = [&](const v1::ImportUpdate& wire) -> Result<bool> {
        fromWire(wire, newest);
        if (wire.has_report())
            if (auto ok = fromWire(wire.report(), report.emplace()); !ok)
                return tl::unexpected(ok.error());
        return report || goesOn();
    };
    StreamReader<v1::ImportUpdate> reader(m_address, m_timeoutMs);
    auto done = reader.run([&](grpc::ClientContext* context, grpc::CompletionQueue* queue, void* tag) {
        return m_stub->AsyncImportRun(context, request, queue, tag);
    }, take, goesOn);
    if (!done)
        return tl::unexpected(done.error());
    if (report)
        return std::move(*report);
    return isStopped ? fail(ErrorCode::Cancelled, "the import was called off") : fail(ErrorCode::Unavailable, "the daemon ended before the import was done", m_address);
}

} // namespace

std::unique_ptr<ControlApi> makeControlClient(const std::string& address, int timeoutMs) {
    return std::make_unique<GrpcControlClient>(address, timeoutMs);
}

} // namespace telehelm::ipc
