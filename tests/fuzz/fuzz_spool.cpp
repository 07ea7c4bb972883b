// SPDX-License-Identifier: Apache-2.0
// The spool file and the outbox over it: whatever lies in the file, it is taken or put aside, and what is added afterwards is not lost.
// Input: a byte for the head, a byte for the number of orders, the orders, then the file.
#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

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

// What an outbox holds, batch by batch: its number and what it says.
struct Held {
    std::uint64_t sequence = 0;
    std::string text;
    std::size_t points = 0;
    bool own = false;
    bool operator==(const Held& other) const { return sequence == other.sequence && text == other.text; }
};

// The name that Rig gave a batch, or the bytes of what is none of its batches with this number.
std::string textOf(std::uint64_t sequence, const std::string& payload) {
    v1::TelemetryBatch wire;
    const bool isOurs = wire.ParseFromString(payload) && wire.sequence() == sequence && wire.series_size() == 1 && wire.series(0).name().starts_with("batch ");
    return isOurs ? wire.series(0).name() : payload;
}

// The outbox beside a list that does what outbox.h promises; after every order they hold the same.
class Rig {
public:
    explicit Rig(std::filesystem::path file) : m_file(std::move(file)) {}

    bool open() {
        Spool spool;
        if (!spool.open(m_file, kKey))
            return false;
        m_acked = spool.acked();
        for (const SpoolRecord& record : spool.found()) {
            if (record.sequence > kLargest)
                return false; // no process counts so far
            if (record.sequence <= m_acked)
                continue;
            if (!m_held.empty() && m_held.back().sequence == record.sequence)
                m_held.pop_back();
            m_held.push_back({record.sequence, textOf(record.sequence, *spool.read(record)), record.points, false});
        }
        m_next = (m_held.empty() ? m_acked : m_held.back().sequence) + 1;
        m_outbox = std::make_unique<TrainerOutbox>();
        return m_outbox->open(m_file, kKey, kMemoryPoints).has_value();
    }

    void add(std::size_t points) {
        TelemetryBatch batch;
        batch.key = kKey;
        batch.series = {{"batch " + std::to_string(++m_added), std::vector<Point>(points)}};
        m_held.push_back({m_next++, batch.series.front().name, points, true});
        m_outbox->add(std::move(batch));
    }
    void send() {
        const auto next = m_outbox->next();
        fuzz::require(next.has_value(), "what is pending can be read");
        fuzz::require(next->has_value() == (m_sent < m_held.size()), "what was not sent is next");
        if (*next) {
            m_outbox->sent();
            ++m_sent;
        }
    }
    void spill() { fuzz::require(m_outbox->spill(TrainerOutbox::Clock::duration::zero()).has_value(), "a spool takes more"); }
    void rewind() {
        m_outbox->rewind();
        m_sent = 0;
    }
    void ack(std::uint64_t sequence) {
        sequence = std::min(sequence, m_next - 1);
        fuzz::require(m_outbox->ack(sequence) == settle(sequence), "an ack settles what it covers");
    }
    void welcome(std::uint64_t lastStored) {
        m_sent = 0;
        if (m_isWelcome) // only an earlier process can have sent what this one did not
            lastStored = std::min(lastStored, m_next - 1);
        const auto own = std::ranges::find(m_held, true, &Held::own);
        if (!std::exchange(m_isWelcome, true) && lastStored >= (own == m_held.end() ? m_next : own->sequence)) {
            m_next = lastStored + 1;
            for (auto held = own; held != m_held.end(); ++held)
                held->sequence = m_next++;
        }
        fuzz::require(m_outbox->welcome(lastStored) == settle(lastStored), "a welcome settles what the daemon has");
    }
    // The process ends with everything in the spool, the next one finds it and is told what the daemon has.
    void reopen() {
        spill();
        m_outbox.reset();
        std::vector<Held> before = std::exchange(m_held, {});
        const std::uint64_t stored = std::exchange(m_acked, 0);
        fuzz::require(open(), "a spool that was written can be opened");
        m_isWelcome = false;
        welcome(stored);
        fuzz::require(m_held == before, "what was not acked outlives the process");
    }
    void compare() {
        const std::size_t sent = m_sent;
        fuzz::require(m_outbox->inFlight() == sent, "what was sent is in flight until an ack covers it");
        fuzz::require(m_outbox->empty() == m_held.empty(), "empty is empty");
        fuzz::require(m_outbox->firstUnacked() == (m_held.empty() ? m_next : m_held.front().sequence), "the first unacked one is known");
        m_outbox->rewind();
        for (const Held& held : m_held) {
            const auto next = m_outbox->next();
            fuzz::require(next && *next, "no batch vanishes before an ack covers it");
            fuzz::require(textOf(held.sequence, (*next)->payload) == held.text, "a batch keeps what it says, under its number");
            m_outbox->sent();
        }
        const auto end = m_outbox->next();
        fuzz::require(end && !*end, "no batch comes twice");
        for (rewind(); m_sent < sent;)
            send();
    }
    [[nodiscard]] std::uint64_t middle() const { return m_held.empty() ? m_next : m_held[m_held.size() / 2].sequence; }
    [[nodiscard]] std::uint64_t before() const { return m_outbox->firstUnacked() - 1; }

private:
    static constexpr std::size_t kMemoryPoints = 40;
    static constexpr std::uint64_t kLargest = 1ULL << 60;

    std::size_t settle(std::uint64_t sequence) {
        std::size_t points = 0;
        while (!m_held.empty() && m_held.front().sequence <= sequence) {
            points += m_held.front().points;
            m_acked = m_held.front().sequence;
            m_held.erase(m_held.begin());
            m_sent -= std::min<std::size_t>(m_sent, 1);
        }
        m_acked = std::max(m_acked, std::min(sequence, m_next - 1));
        return points;
    }

    const std::filesystem::path m_file;
    std::unique_ptr<TrainerOutbox> m_outbox;
    std::vector<Held> m_held;
    std::uint64_t m_next = 1, m_acked = 0;
    std::size_t m_added = 0, m_sent = 0;
    bool m_isWelcome = false;
};

void live(const std::filesystem::path& file, const std::string& orders) {
    Rig rig(file);
    if (!rig.open())
        return;
    for (const char order : orders) {
        const auto argument = static_cast<std::size_t>(static_cast<unsigned char>(order) >> 3);
        switch (static_cast<unsigned char>(order) % 8) {
        case 0: case 1: rig.add(argument); break;
        case 2: rig.send(); break;
        case 3: rig.rewind(); break;
        case 4: rig.spill(); break;
        case 5: rig.welcome(argument % 2 == 0 ? rig.before() + argument / 2 : rig.middle()); break;
        case 6: rig.ack(argument % 2 == 0 ? rig.before() + argument / 8 : rig.middle()); break;
        default: rig.reopen(); break;
        }
        rig.compare();
    }
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
