// SPDX-License-Identifier: Apache-2.0
// The daemon's end of the trainer link: a peer that sends any messages, over a real socket. The server must stay up, hand on only what
// belongs to the peer that said hello, and serve the next one.
// Input: messages, each a byte for its shape, a byte for its length and its bytes.
#include <condition_variable>
#include <mutex>

#include <zmq.h>

#include "convert/convert.h"
#include "fuzz_support.h"
#include "telehelm/ipc/trainer_link.h"
#include "zmq/link_frames.h"
#include "zmq/socket.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

const AttemptKey kSync{"sync", 1};

class Handler final : public TrainerHandler {
public:
    Result<std::uint64_t> onHello(const TrainerHello& hello) override {
        m_current = hello.key;
        if (hello.key.run == "refused")
            return fail(ErrorCode::NotFound, "no such run");
        return hello.key.attempt % 4;
    }
    Result<std::uint64_t> onBatch(TelemetryBatch&& batch) override {
        fuzz::require(batch.sequence % 5 != 0 || batch.key.run != "refused", "a refused trainer's batches are not handed on");
        if (batch.sequence % 7 == 3)
            return fail(ErrorCode::ResourceExhausted, "disk full");
        return batch.sequence % 2 == 0 ? batch.sequence : 0;
    }
    void onHeartbeat(const TrainerHeartbeat&) override {}
    void onGone(const AttemptKey& key, bool) override {
        const std::lock_guard lock(m_mutex);
        m_gone = m_gone || key == kSync;
        m_changed.notify_all();
    }
    void waitForSync() {
        std::unique_lock lock(m_mutex);
        fuzz::require(m_changed.wait_for(lock, std::chrono::seconds(15), [&] { return m_gone; }), "the server still serves");
        m_gone = false;
    }

private:
    AttemptKey m_current;
    std::mutex m_mutex;
    std::condition_variable m_changed;
    bool m_gone = false; // guarded by m_mutex
};

struct Rig {
    Handler handler;
    std::unique_ptr<TrainerLinkServer> server;
    ZmqContext context;
    Rig() { server = std::move(*serveTrainers(handler, "tcp://127.0.0.1:*")); }
};

void sendAny(ZmqSocket& socket, FuzzedDataProvider& input) {
    const auto shape = input.ConsumeIntegral<std::uint8_t>();
    const std::string kind(1, input.PickValueInArray({'H', 'B', 'P', 'G', 'W', 'A', 'N', 'C', 'R', 'x'}));
    const std::string body = input.ConsumeBytesAsString(input.ConsumeIntegral<std::uint8_t>());
    switch (shape % 4) {
    case 0: socket.send({body}); break;
    case 1: socket.send({kLinkTag, body}); break;
    case 2: socket.send({kLinkTag, kind, body, body}); break;
    default: socket.send({kLinkTag, kind, body}); break;
    }
}

void sayHelloAndGo(ZmqSocket& socket) {
    v1::TrainerHello hello;
    toWire(TrainerHello{kSync, 1, 1, "host", "", 1}, hello);
    const std::string body = hello.SerializeAsString();
    socket.send({kLinkTag, "H", body});
    socket.send({kLinkTag, "G", ""});
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Rig& rig = *new Rig; // its threads live as long as the process
    FuzzedDataProvider input(data, size);
    ZmqSocket socket(rig.context, ZMQ_DEALER);
    socket.setOption(ZMQ_LINGER, 2000);
    fuzz::require(socket.connect(rig.server->endpoint()).has_value(), "the server can be reached");
    for (int i = 0; i < 64 && input.remaining_bytes() > 0; ++i)
        sendAny(socket, input);
    sayHelloAndGo(socket);
    rig.handler.waitForSync();
    return 0;
}
