// SPDX-License-Identifier: Apache-2.0
// A subscriber of the live stream that is sent anything, over a real socket: each message is news or an error, and the stream goes on.
// Input: messages, each a byte for its shape, a byte for its length and its bytes.
#include <zmq.h>

#include "convert/convert.h"
#include "fuzz_support.h"
#include "telehelm/ipc/live.h"
#include "zmq/live_frames.h"
#include "zmq/socket.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

struct Rig {
    ZmqContext context;
    ZmqSocket publisher{context, ZMQ_XPUB};
    std::unique_ptr<LiveSubscriber> subscriber;
    std::uint64_t number = 0;
    Rig() {
        fuzz::require(publisher.bind("tcp://127.0.0.1:*").has_value(), "a port is free");
        subscriber = std::move(*makeLiveSubscriber(publisher.lastEndpoint()));
        std::vector<std::string> subscription;
        while (!publisher.receive(subscription))
            (void)subscriber->receive(10);
    }
};

void sendAny(ZmqSocket& socket, FuzzedDataProvider& input) {
    const auto shape = input.ConsumeIntegral<std::uint8_t>();
    const auto number = input.ConsumeIntegral<std::uint8_t>();
    const std::string body = input.ConsumeBytesAsString(input.ConsumeIntegral<std::uint8_t>());
    const std::string topic = topicOf({}), counted = littleEndian(number);
    // What a subscriber may ask for in its topic: refused, or read as it would be written.
    if (const std::string asked = std::string(kTopicStart) + body; const auto want = parseTopic(asked))
        fuzz::require(topicOf(*want) == asked, "a topic that is read is written the same");
    switch (shape % 4) {
    case 0: socket.send({topic + body}); break;
    case 1: socket.send({topic, body, body}); break;
    case 2: socket.send({topic, body, counted, body}); break;
    default: socket.send({topic, body, counted}); break;
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Rig& rig = *new Rig;
    FuzzedDataProvider input(data, size);
    for (int i = 0; i < 64 && input.remaining_bytes() > 0; ++i)
        sendAny(rig.publisher, input);
    News news;
    news.epoch = "sync";
    news.news = ++rig.number;
    v1::News wire;
    toWire(news, wire);
    rig.publisher.send({topicOf({}), wire.SerializeAsString(), littleEndian(news.news)});
    for (int i = 0; i < 80; ++i)
        if (auto got = rig.subscriber->receive(15'000); got && *got && (*got)->epoch == "sync" && (*got)->news == rig.number)
            return 0;
    fuzz::require(false, "the stream goes on after strange messages");
    return 0;
}
