// SPDX-License-Identifier: Apache-2.0
// The host's stand-in for streams is unlucky on purpose: what no event orders goes wrong in one order or another.
#include <QtTest>

#include "gpu.h"

using namespace telehelm::kernels::cuda;
using host::Order;

namespace {

constexpr std::array kOrders{Order::Late, Order::Early, Order::Shuffled};

/// One stream writes 1, 2, …, the other takes a copy at the end; host words stand for the device's.
int copied(Order order, bool hasEvent, bool waitsForWriter) {
    host::orderStreams(order);
    const Stream writer, reader;
    const PinnedBuffer from(sizeof(int)), to(sizeof(int));
    std::array<int, 8> values{};
    for (int i = 0; i < 8; ++i) {
        values[static_cast<std::size_t>(i)] = i + 1;
        copyOnDevice(from.data(), &values[static_cast<std::size_t>(i)], sizeof(int), writer);
    }
    Event written;
    written.record(writer);
    if (hasEvent)
        written.holdUp(reader);
    copyOnDevice(to.data(), from.data(), sizeof(int), reader);
    if (waitsForWriter)
        writer.synchronize();
    reader.synchronize();
    return to.as<int>()[0];
}

} // namespace

class TestStreamsOnHost : public QObject {
    Q_OBJECT

private slots:
    void cleanup() { host::orderStreams(Order::Late); }
    void eventsOrderStreams();
    void aMissingEventIsNoticed();
    void pinnedMemoryIsReadLate();
    void marksAreThoseOfTheirRecord();
    void pollsMakeProgress();
    void graphsRunWhenTheirStreamDoes();
};

void TestStreamsOnHost::eventsOrderStreams() {
    for (const Order order : kOrders)
        for (const bool waitsForWriter : {false, true})
            QCOMPARE(copied(order, true, waitsForWriter), 8);
}

void TestStreamsOnHost::aMissingEventIsNoticed() {
    QCOMPARE(copied(Order::Late, false, false), 0);
    QCOMPARE(copied(Order::Early, false, true), 0);
    QVERIFY(copied(Order::Shuffled, false, true) < 8);
}

void TestStreamsOnHost::pinnedMemoryIsReadLate() {
    const Stream stream;
    const PinnedBuffer pinned(sizeof(int));
    const DeviceBuffer device(sizeof(int));
    int back = 0;
    pinned.as<int>()[0] = 1;
    copyToDevice(device.data(), pinned.data(), sizeof(int), stream);
    pinned.as<int>()[0] = 2; // too early
    copyToHost(&back, device.data(), sizeof(int), stream);
    stream.synchronize();
    QCOMPARE(back, 2);
}

/// Recording an event again does not move who waits for its mark before.
void TestStreamsOnHost::marksAreThoseOfTheirRecord() {
    const Stream first, second;
    std::array<int, 3> words{1, 2, 0};
    Event mark;
    mark.record(first);
    mark.holdUp(second);
    copyOnDevice(&words[2], &words[0], sizeof(int), second);
    copyOnDevice(&words[0], &words[1], sizeof(int), first);
    mark.record(first);
    second.synchronize();
    QCOMPARE(words[2], 1);
    QCOMPARE(words[0], 1); // nobody needed it yet
    mark.synchronize();
    QCOMPARE(words[0], 2);
}

void TestStreamsOnHost::pollsMakeProgress() {
    for (const Order order : kOrders) {
        host::orderStreams(order);
        const Stream stream, other;
        Event begun, done, never;
        std::array<std::byte, 8> bytes{};
        QVERIFY(never.isReached()); // as CUDA has it
        begun.record(stream);
        fillBytes(bytes.data(), 1, bytes.size(), stream);
        done.record(other);
        done.holdUp(stream);
        done.record(stream);
        int polls = 0;
        while (!done.isReached())
            QVERIFY(++polls < 100);
        QVERIFY(done.msSince(begun) >= 0);
    }
}

void TestStreamsOnHost::graphsRunWhenTheirStreamDoes() {
    const Stream stream, other;
    std::array<int, 2> words{1, 0};
    const Graph graph = Graph::record(stream, [&] { copyOnDevice(&words[1], words.data(), sizeof(int), stream); });
    graph.launch(stream);
    QCOMPARE(words[1], 0);
    stream.synchronize();
    QCOMPARE(words[1], 1);
    QVERIFY_THROWS_EXCEPTION(std::logic_error, static_cast<void>(Graph::record(stream, [&] { stream.synchronize(); })));
    QVERIFY_THROWS_EXCEPTION(std::logic_error, static_cast<void>(Graph::record(stream, [&] { fillBytes(&words, 0, 4, other); })));
}

QTEST_GUILESS_MAIN(TestStreamsOnHost)
#include "tst_streams_on_host.moc"
