// SPDX-License-Identifier: Apache-2.0
// Every message that comes over a link: whatever the bytes, it is refused or understood, and what was understood survives the way back.
// Input: a byte that picks the message, then its bytes.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "convert/convert.h"
#include "fuzz_support.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

std::string bytesOf(const google::protobuf::MessageLite& message) { // maps in a fixed order
    std::string bytes;
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializePartialToCodedStream(&coded);
    coded.Trim();
    return bytes;
}

template <typename Wire, typename Value>
bool understand(const Wire& wire, Value& value) {
    if constexpr (std::is_void_v<decltype(fromWire(wire, value))>) {
        fromWire(wire, value);
        return true;
    } else {
        return fromWire(wire, value).has_value();
    }
}

template <typename Wire, typename Value>
void tryMessage(const std::string& bytes) {
    Wire wire;
    Value value;
    if (!wire.ParseFromString(bytes) || !understand(wire, value))
        return;
    Wire back, again;
    toWire(value, back);
    const std::string once = bytesOf(back);
    Value same;
    fuzz::require(back.ParseFromString(once) && understand(back, same), "what we write can be read");
    toWire(same, again);
    fuzz::require(bytesOf(again) == once, "a message survives writing and reading");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0)
        return 0;
    const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 12) {
    case 0: tryMessage<v1::TelemetryBatch, TelemetryBatch>(bytes); break;
    case 1: tryMessage<v1::News, News>(bytes); break;
    case 2: tryMessage<v1::TrainerHello, TrainerHello>(bytes); break;
    case 3: tryMessage<v1::Command, Command>(bytes); break;
    case 4: tryMessage<v1::SeriesQuery, SeriesQuery>(bytes); break;
    case 5: tryMessage<v1::SeriesSegment, SeriesSegment>(bytes); break;
    case 6: tryMessage<v1::RunInfo, RunInfo>(bytes); break;
    case 7: tryMessage<v1::Event, Event>(bytes); break;
    case 8: tryMessage<v1::CheckpointInfo, CheckpointInfo>(bytes); break;
    case 9: tryMessage<v1::SeriesInfo, SeriesInfo>(bytes); break;
    case 10: tryMessage<v1::HelloInfo, HelloInfo>(bytes); break;
    default: {
        const std::string mended = mendUtf8(bytes);
        fuzz::require(mendUtf8(mended) == mended, "mended text needs no mending");
    }
    }
    return 0;
}
