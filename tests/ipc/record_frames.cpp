// SPDX-License-Identifier: Apache-2.0
// Records what this build writes to the wire: record_frames FOLDER. tests/golden/README.md says when. Not part of the tests.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include <zmq.h>

#include "convert/convert.h"
#include "golden_values.h"
#include "telehelm/ipc/live.h"
#include "zmq/link_frames.h"
#include "zmq/live_frames.h"
#include "zmq/socket.h"

namespace telehelm::ipc {
namespace {

using Frames = std::vector<std::string>;

/// One message a line, its frames in hexadecimal with blanks between them; an empty frame is “-”.
class Recorder {
public:
    explicit Recorder(const std::filesystem::path& file) : m_file(file) {}
    void add(const Frames& frames) {
        static constexpr char kHex[] = "0123456789abcdef";
        for (const std::string& frame : frames) {
            for (const char c : frame)
                m_file << kHex[static_cast<unsigned char>(c) >> 4] << kHex[static_cast<unsigned char>(c) & 15];
            m_file << (frame.empty() ? "-" : "") << (&frame == &frames.back() ? "\n" : " ");
        }
    }
    template <typename Wire, typename Value>
    void body(const Value& value) {
        Wire wire;
        toWire(value, wire);
        add({wire.SerializeAsString()});
    }

private:
    std::ofstream m_file;
};

void recordLive(const std::filesystem::path& file) {
    Recorder recorder(file);
    auto publisher = makeLivePublisher("tcp://127.0.0.1:*", "epoch-1");
    const ZmqContext context;
    ZmqSocket socket(context, ZMQ_SUB);
    socket.subscribe(topicOf({}));
    (void)socket.connect((*publisher)->endpoint());
    Frames frames;
    News warmUp;
    warmUp.batch.key.run = "warm-up";
    while (!socket.receive(frames)) {
        (*publisher)->publish(warmUp);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    for (const News& news : golden::news())
        (*publisher)->publish(news);
    for (std::size_t got = 0; got < golden::news().size();)
        if (socket.receive(frames) && frames[1].find("warm-up") == std::string::npos) {
            recorder.add(frames);
            ++got;
        }
}

template <typename Wire>
void link(Recorder& recorder, FrameKind kind, const Wire& body) {
    recorder.add({std::string(kLinkTag), std::string(1, static_cast<char>(kind)), body.SerializeAsString()});
}

void recordTrainer(const std::filesystem::path& file) {
    Recorder recorder(file);
    v1::TrainerHello hello;
    toWire(golden::trainerHello(), hello);
    link(recorder, FrameKind::Hello, hello);
    v1::TelemetryBatch batch;
    toWire(golden::batch(), batch);
    link(recorder, FrameKind::Batch, batch);
    v1::TrainerPulse pulse;
    pulse.set_step(420);
    pulse.set_tokens(860'160);
    pulse.set_phase("saving");
    pulse.set_points_emitted(1000);
    link(recorder, FrameKind::Pulse, pulse);
    link(recorder, FrameKind::Goodbye, v1::TrainerGoodbye());
}

void recordDaemon(const std::filesystem::path& file) {
    Recorder recorder(file);
    v1::Refusal refusal;
    refusal.set_text("not now");
    link(recorder, FrameKind::Refusal, refusal);
    v1::Welcome welcome;
    welcome.set_last_sequence(3);
    link(recorder, FrameKind::Welcome, welcome);
    v1::Ack ack;
    ack.set_sequence(4);
    link(recorder, FrameKind::Ack, ack);
    v1::Nack nack;
    nack.set_sequence(5);
    nack.set_text("the disk is full");
    link(recorder, FrameKind::Nack, nack);
    v1::Command command;
    toWire(golden::command(), command);
    link(recorder, FrameKind::Command, command);
    link(recorder, FrameKind::Pulse, v1::DaemonPulse());
}

void recordControl(const std::filesystem::path& file) {
    Recorder recorder(file);
    recorder.body<v1::HelloInfo>(golden::hello());
    recorder.body<v1::RunInfo>(golden::run());
    recorder.body<v1::Command>(golden::command());
    recorder.body<v1::Event>(golden::event());
    recorder.body<v1::CheckpointInfo>(golden::checkpoint());
    recorder.body<v1::SeriesInfo>(golden::seriesInfo());
    recorder.body<v1::SeriesSegment>(golden::segment());
}

/// The file that a trainer leaves when no daemon took its points.
void recordSpool(const std::filesystem::path& file) {
    const std::filesystem::path spool = file.string() + ".tmp";
    {
        TrainerLinkOptions options;
        options.key = {"demo", 2};
        options.spoolFile = spool;
        const auto trainer = makeOfflineTrainerLink(options);
        for (const SeriesBlock& block : golden::batch().series)
            for (const Point& point : block.points)
                (*trainer)->emit(block.name.c_str(), point);
        (*trainer)->emit(golden::event());
        (*trainer)->flush(5000);
    }
    std::ifstream in(spool, std::ios::binary);
    Recorder(file).add({std::string(std::istreambuf_iterator<char>(in), {})});
    std::filesystem::remove(spool);
}

} // namespace
} // namespace telehelm::ipc

int main(int argc, char** argv) {
    using namespace telehelm::ipc;
    if (argc != 2) {
        std::fprintf(stderr, "usage: record_frames FOLDER\n");
        return 2;
    }
    const std::filesystem::path folder = argv[1];
    std::filesystem::create_directories(folder);
    recordLive(folder / "live.hex");
    recordTrainer(folder / "trainer.hex");
    recordDaemon(folder / "daemon.hex");
    recordControl(folder / "control.hex");
    recordSpool(folder / "spool.hex");
    return 0;
}
