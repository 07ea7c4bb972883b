// SPDX-License-Identifier: Apache-2.0
// The spool file and the outbox over it: whatever lies in the file, it is taken or put aside, and what is added afterwards is not lost.
// Input: a byte for the head, a byte for the number of orders, the orders, then the file.
#include <fstream>
#include <map>

#include "convert/convert.h"
#include "fuzz_support.h"
#include "zmq/spool.h"
#include "zmq/trainer_outbox.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

const AttemptKey kKey{"demo", 1};

void put(std::string& bytes, std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i)
        bytes += static_cast<char>(value >> (8 * i));
}

std::string soundHead(std::uint64_t acked) {
    std::string head = "THSPOOL1";
    put(head, acked, 8);
    put(head, crc32("demo/1"), 4);
    put(head, crc32(head), 4);
    return head;
}

// Records with sound checksums around the input's bytes: [number][length][payload …].
std::string soundRecords(FuzzedDataProvider& input) {
    std::string file;
    while (input.remaining_bytes() > 2) {
        const std::uint64_t sequence = input.ConsumeBool() ? input.ConsumeIntegral<std::uint8_t>() : input.ConsumeIntegral<std::uint64_t>();
        const std::string payload = input.ConsumeBytesAsString(input.ConsumeIntegral<std::uint8_t>());
        std::string rest;
        put(rest, sequence, 8);
        put(rest, input.ConsumeIntegral<std::uint8_t>(), 4);
        rest += payload;
        put(file, payload.size(), 4);
        put(file, crc32(rest), 4);
        file += rest;
    }
    return file;
}

void readAndAppend(const std::filesystem::path& file) {
    std::size_t known = 0;
    {
        Spool spool;
        if (!spool.open(file, kKey))
            return;
        for (const SpoolRecord& record : spool.found())
            fuzz::require(spool.read(record).has_value(), "what the spool found can be read");
        known = spool.found().size();
        fuzz::require(spool.append(~std::uint64_t{0}, 3, "the last").has_value(), "a spool takes more");
    }
    Spool again;
    fuzz::require(again.open(file, kKey).has_value(), "a spool that took more can be opened");
    fuzz::require(again.found().size() == known + 1, "a spool keeps what it has");
    fuzz::require(again.read(again.found().back()).value_or("") == "the last", "a spool gives back what it took");
}

// Batches of this process, by what they say: none may vanish before an ack covers it.
void live(const std::filesystem::path& file, const std::string& orders) {
    TrainerOutbox outbox;
    if (!outbox.open(file, kKey, 40))
        return;
    std::size_t own = 0, pending = 0;
    for (const char order : orders) {
        switch (static_cast<unsigned char>(order) % 6) {
        case 0: {
            TelemetryBatch batch;
            batch.key = kKey;
            batch.series = {{"x", std::vector<Point>(static_cast<std::size_t>(order & 31))}};
            outbox.add(std::move(batch));
            ++own;
            break;
        }
        case 1:
            if (auto next = outbox.next(); next && *next)
                outbox.sent();
            break;
        case 2: outbox.rewind(); break;
        case 3: (void)outbox.spill(TrainerOutbox::Clock::duration::zero()); break;
        case 4: (void)outbox.welcome(outbox.firstUnacked() - 1 + (static_cast<unsigned char>(order) >> 6)); break;
        default: (void)outbox.ack(outbox.firstUnacked() - 1); break;
        }
        fuzz::require(outbox.inFlight() == 0 || !outbox.empty(), "nothing is in flight from an empty outbox");
    }
    (void)pending;
    outbox.rewind();
    std::uint64_t number = outbox.firstUnacked();
    for (;;) {
        const auto next = outbox.next();
        if (!next || !*next)
            break;
        outbox.sent();
        ++number;
    }
    fuzz::require(own == 0 || outbox.empty() || outbox.inFlight() > 0, "what is pending can be sent");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::filesystem::path folder = fuzz::workFolder("spool");
    FuzzedDataProvider input(data, size);
    const auto head = input.ConsumeIntegral<std::uint8_t>();
    const std::string orders = input.ConsumeBytesAsString(input.ConsumeIntegral<std::uint8_t>() % 64);
    std::string text = head % 3 == 0 ? std::string() : soundHead(head / 3);
    text += head % 3 == 1 ? soundRecords(input) : input.ConsumeRemainingBytesAsString();
    const auto file = folder / "spool";
    for (const bool isOutbox : {false, true}) {
        std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
        isOutbox ? live(file, orders) : readAndAppend(file);
        for (const auto& entry : std::filesystem::directory_iterator(folder))
            std::filesystem::remove(entry.path());
    }
    return 0;
}
