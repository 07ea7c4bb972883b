// SPDX-License-Identifier: Apache-2.0
// Device communicators pass the same checks everywhere: staged over one rank, over threads and over mpirun with memory whose
// copies come late; staged over threads and NCCL alone on a real device, where there is one.
#include <QtTest>

#include <cmath>
#include <numeric>
#include <thread>

#include <QProcess>
#include <QStandardPaths>

#include "comm/bfloat16.h"
#include "comm/mpi_world.h"
#include "deferred_memory.h"

using namespace telehelm;
using namespace telehelm::comm;

namespace {

void expect(bool holds, const std::string& what) {
    if (!holds) {
        throw std::runtime_error(what);
    }
}

/// What the checks need: a communicator, a memory, and two streams.
struct Rig {
    DeviceCommunicator& world;
    DeviceMemory& memory;
    DeviceStream first, second;
    [[nodiscard]] std::size_t n() const { return static_cast<std::size_t>(world.size()); }
    [[nodiscard]] std::size_t r() const { return static_cast<std::size_t>(world.rank()); }
};

/// Elements on the device, filled from floats by a copy on the stream that nobody waits for.
class Buffer {
public:
    Buffer(const Rig& rig, std::size_t count, Element element)
        : m_rig(rig), m_span{rig.memory.allocateDevice(count * bytesOf(element)), count, element}, m_host(m_span.bytes()) {}
    ~Buffer() { m_rig.memory.freeDevice(m_span.data); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void fill(const std::vector<float>& values, DeviceStream stream) {
        expect(values.size() == m_span.count, "test's own mistake");
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (m_span.element == Element::F32) {
                std::memcpy(m_host.data() + 4 * i, &values[i], 4);
            } else {
                const std::uint16_t bits = toBfloat16(values[i]);
                std::memcpy(m_host.data() + 2 * i, &bits, 2);
            }
        }
        m_rig.memory.toDevice(m_span.data, m_host.data(), m_host.size(), stream);
    }
    [[nodiscard]] std::vector<float> read(DeviceStream stream) {
        m_rig.world.wait(stream);
        std::vector<std::byte> host(m_span.bytes());
        m_rig.memory.toHost(host.data(), m_span.data, host.size(), stream);
        m_rig.world.wait(stream);
        std::vector<float> values(m_span.count);
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (m_span.element == Element::F32) {
                std::memcpy(&values[i], host.data() + 4 * i, 4);
            } else {
                std::uint16_t bits = 0;
                std::memcpy(&bits, host.data() + 2 * i, 2);
                values[i] = fromBfloat16(bits);
            }
        }
        return values;
    }
    [[nodiscard]] DeviceSpan span() const { return m_span; }
    [[nodiscard]] ConstDeviceSpan all() const { return {m_span.data, m_span.count, m_span.element}; }
    [[nodiscard]] DeviceSpan part(std::size_t from, std::size_t count) const {
        return {static_cast<std::byte*>(m_span.data) + from * bytesOf(m_span.element), count, m_span.element};
    }
    [[nodiscard]] ConstDeviceSpan constPart(std::size_t from, std::size_t count) const {
        return {part(from, count).data, count, m_span.element};
    }

private:
    Rig m_rig;
    DeviceSpan m_span;
    std::vector<std::byte> m_host;
};

/// Small whole numbers, other ones in each place and rank; exact in bf16, their sums over four ranks too.
std::vector<float> pattern(std::size_t count, std::size_t rank) {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        values[i] = static_cast<float>((i * 7 + rank * 13) % 61) - 30.0F;
    }
    return values;
}

constexpr std::size_t kCounts[] = {1, 7, 64, 1000, 4099}; // below, at and above a piece of the staging buffer; odd ones

void checkAllReduce(const Rig& rig, Element element) {
    for (const std::size_t count : kCounts) {
        Buffer data(rig, count, element);
        data.fill(pattern(count, rig.r()), rig.first);
        rig.world.allReduce(data.span(), Reduce::Sum, rig.first);
        const std::vector<float> got = data.read(rig.first);
        for (std::size_t i = 0; i < count; ++i) {
            float sum = 0;
            for (std::size_t rank = 0; rank < rig.n(); ++rank) {
                sum += pattern(count, rank)[i];
            }
            expect(got[i] == sum,
                   "allReduce of " + std::to_string(count) + " " + nameOf(element) + ", element " + std::to_string(i));
            if (i == 300) {
                i = count - 300; // pattern() is slow, the ends tell
            }
        }
    }
    Buffer extremes(rig, 3, element);
    const auto own = static_cast<float>(rig.r());
    extremes.fill({own, -own, 5}, rig.first);
    rig.world.allReduce(extremes.span(), Reduce::Max, rig.first);
    expect(extremes.read(rig.first) == std::vector<float>({static_cast<float>(rig.n() - 1), 0, 5}), "allReduce max");
    extremes.fill({own, -own, 5}, rig.first);
    rig.world.allReduce(extremes.span(), Reduce::Min, rig.first);
    expect(extremes.read(rig.first) == std::vector<float>({0, -static_cast<float>(rig.n() - 1), 5}), "allReduce min");
}

void checkScatterAndGather(const Rig& rig, Element element) {
    for (const std::size_t count : kCounts) {
        const std::string what = std::to_string(count) + " " + nameOf(element);
        Buffer whole(rig, count * rig.n(), element);
        Buffer shard(rig, count, element);
        whole.fill(pattern(count * rig.n(), rig.r()), rig.first);
        rig.world.reduceScatter(whole.all(), shard.span(), rig.first);
        std::vector<float> sum(count * rig.n());
        for (std::size_t rank = 0; rank < rig.n(); ++rank) {
            const std::vector<float> theirs = pattern(sum.size(), rank);
            std::transform(sum.begin(), sum.end(), theirs.begin(), sum.begin(), std::plus<>());
        }
        const auto block = sum.begin() + static_cast<std::ptrdiff_t>(rig.r() * count);
        expect(shard.read(rig.first) == std::vector<float>(block, block + static_cast<std::ptrdiff_t>(count)),
               "reduceScatter of " + what);

        rig.world.reduceScatter(whole.all(), whole.part(rig.r() * count, count), rig.first); // in place
        rig.world.allGather(whole.constPart(rig.r() * count, count), whole.span(), rig.first);
        expect(whole.read(rig.first) == sum, "reduceScatter and allGather in place of " + what);

        Buffer gathered(rig, count * rig.n(), element);
        rig.world.allGather(shard.all(), gathered.span(), rig.first);
        expect(gathered.read(rig.first) == sum, "allGather of " + what);
    }
}

void checkMessages(const Rig& rig) {
    for (const std::size_t count : kCounts) {
        Buffer data(rig, count, Element::F32);
        const auto root = static_cast<int>(rig.n()) - 1;
        if (rig.world.rank() == root) {
            data.fill(pattern(count, 99), rig.first);
        }
        rig.world.broadcast(data.span(), root, rig.first);
        expect(data.read(rig.first) == pattern(count, 99), "broadcast of " + std::to_string(count));

        // Around the ring: everybody sends before anybody receives. Then twice in a row, to be received in order.
        const auto next = static_cast<int>((rig.r() + 1) % rig.n());
        const auto previous = static_cast<int>((rig.r() + rig.n() - 1) % rig.n());
        Buffer out(rig, count, Element::BF16), more(rig, count, Element::BF16), in(rig, count, Element::BF16),
            last(rig, count, Element::BF16);
        out.fill(pattern(count, rig.r()), rig.first);
        more.fill(pattern(count, rig.r() + 20), rig.first);
        const DeviceSend sends[] = {{out.all(), next}, {more.all(), next}};
        const DeviceRecv recvs[] = {{in.span(), previous}, {last.span(), previous}};
        rig.world.exchange(sends, recvs, rig.first);
        const auto sender = static_cast<std::size_t>(previous);
        expect(in.read(rig.first) == pattern(count, sender) && last.read(rig.first) == pattern(count, sender + 20),
               "exchange around the ring of " + std::to_string(count));
    }
}

/// From the first rank to the last through all others, as a pipeline does; more messages than may be in flight.
void checkSendAndRecv(const Rig& rig) {
    Buffer data(rig, 1000, Element::F32);
    for (std::size_t turn = 0; rig.n() > 1 && turn < 40; ++turn) {
        if (rig.r() == 0) {
            data.fill(pattern(1000, turn), rig.first);
        } else {
            rig.world.recv(data.span(), rig.world.rank() - 1, rig.first);
        }
        if (rig.r() + 1 < rig.n()) {
            rig.world.send(data.all(), rig.world.rank() + 1, rig.first);
        }
        expect(data.read(rig.first) == pattern(1000, turn), "send and recv");
    }
}

/// A call on one stream right after a call on another one: they share the adapter's host memory.
void checkTwoStreams(const Rig& rig) {
    Buffer one(rig, 4099, Element::F32), two(rig, 4099, Element::F32);
    one.fill(pattern(4099, 3), rig.first);
    two.fill(pattern(4099, 4), rig.second);
    rig.world.broadcast(one.span(), 0, rig.first);
    rig.world.allReduce(two.span(), Reduce::Max, rig.second);
    rig.world.broadcast(one.span(), 0, rig.first);
    expect(two.read(rig.second) == pattern(4099, 4) && one.read(rig.first) == pattern(4099, 3), "two streams");
}

void checkSplit(const Rig& rig) {
    const int own = rig.world.rank();
    const auto half = rig.world.split(own % 2, -own, "data"); // keys turn the order round
    expect(half->size() == (rig.world.size() + 1 - own % 2) / 2 && half->rank() == half->size() - 1 - own / 2,
           "split's size and order");
    expect(half->axis() == "data", "split's axis");
    Buffer count(rig, 1, Element::BF16);
    count.fill({1}, rig.first);
    half->allReduce(count.span(), Reduce::Sum, rig.first);
    expect(count.read(rig.first)[0] == static_cast<float>(half->size()), "allReduce of a part");
}

/// bf16 is summed in fp32 and rounded once: 256 + 1 + 1 + … would stay 256 otherwise.
void checkRounding(const Rig& rig) {
    Buffer data(rig, 2, Element::BF16);
    data.fill({rig.r() == 0 ? 256.0F : 1.0F, rig.r() == 0 ? std::nanf("") : 1.0F}, rig.first);
    rig.world.allReduce(data.span(), Reduce::Sum, rig.first);
    const std::vector<float> got = data.read(rig.first);
    expect(got[0] == fromBfloat16(toBfloat16(256.0F + static_cast<float>(rig.n() - 1))) && std::isnan(got[1]),
           "rounding of bf16");
}

std::string textOf(const std::function<void()>& call) {
    try {
        call();
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return {};
}

void checkRefusals(const Rig& rig) {
    Buffer three(rig, 3 * rig.n() + 1, Element::F32), half(rig, 3, Element::BF16);
    const std::string place =
        " on axis " + rig.world.axis() + ", rank " + std::to_string(rig.r()) + " of " + std::to_string(rig.n()) + ": ";
    const auto has = [&](const std::string& text, const std::string& call) {
        expect(text.find(call + place) != std::string::npos, "refusal of " + call + " says: " + text);
    };
    has(textOf([&] { rig.world.reduceScatter(three.all(), three.part(0, 3), rig.first); }), "reduceScatter");
    has(textOf([&] { rig.world.reduceScatter(three.constPart(0, 3 * rig.n()), half.span(), rig.first); }), "reduceScatter");
    has(textOf([&] { rig.world.allGather(half.all(), three.span(), rig.first); }), "allGather");
    has(textOf([&] { rig.world.broadcast(half.span(), static_cast<int>(rig.n()), rig.first); }), "broadcast");
    has(textOf([&] { rig.world.send(half.all(), -1, rig.first); }), "send");
    const DeviceSpan bytes{half.span().data, 6, Element::Byte};
    has(textOf([&] { rig.world.allReduce(bytes, Reduce::Sum, rig.first); }), "allReduce");
}

void checkAll(DeviceCommunicator& world, DeviceMemory& memory) {
    const Rig rig{world, memory, memory.makeStream(), memory.makeStream()};
    for (const Element element : {Element::F32, Element::BF16}) {
        checkAllReduce(rig, element);
        checkScatterAndGather(rig, element);
    }
    checkMessages(rig);
    checkSendAndRecv(rig);
    checkTwoStreams(rig);
    checkSplit(rig);
    checkRefusals(rig);
    for (const DeviceStream stream : {rig.first, rig.second}) {
        world.wait(stream);
        memory.freeStream(stream);
    }
}

constexpr StagedOptions kSmall = {.chunkBytes = 256, .sendsInFlight = 3}; // so that everything goes in pieces

void checkStaged(Communicator& host) {
    const auto memory = std::make_shared<tests::DeferredMemory>();
    {
        const auto world = makeStagedCommunicator(host, memory, "world", kSmall);
        checkAll(*world, *memory);
        const Rig rig{*world, *memory, nullptr, nullptr};
        checkRounding(rig);
        expect(memory->hostBuffers > 0, "the staging buffer comes from the memory");
    }
    expect(memory->hostBuffers == 0, "host buffers are given back");
    const auto roomy = makeStagedCommunicator(host, memory, "world");
    checkAll(*roomy, *memory);
}

/// As threads of this process; the first error of any.
void onThreads(int ranks, const std::function<void(Communicator&)>& check) {
    auto hosts = makeThreadCommunicators(ranks);
    std::vector<std::string> errors(hosts.size());
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
        threads.emplace_back([&, rank] {
            try {
                check(*hosts[rank]);
            } catch (const std::exception& error) {
                errors[rank] = "rank " + std::to_string(rank) + ": " + error.what();
                hosts[rank].reset(); // lets the others go
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const std::string& error : errors) {
        expect(error.empty(), error);
    }
}

int runAsRank() {
    const MpiWorld mpi;
    try {
        const auto host = mpi.communicator();
        checkStaged(*host);
        if (host->rank() == 0) {
            std::puts("all ranks passed");
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "failed: %s\n", error.what());
        mpi.abort(1);
    }
    return 0;
}

} // namespace

class DeviceCommTest : public QObject {
    Q_OBJECT
private slots:
    void bfloat16() {
        QCOMPARE(toBfloat16(1.0F), std::uint16_t(0x3F80));
        QCOMPARE(toBfloat16(257.0F), toBfloat16(256.0F)); // a tie goes to the even one
        QCOMPARE(toBfloat16(259.0F), toBfloat16(260.0F));
        QCOMPARE(toBfloat16(3.4e38F), std::uint16_t(0x7F80)); // beyond the largest: infinity
        QVERIFY(std::isnan(fromBfloat16(toBfloat16(std::bit_cast<float>(0x7F800001U)))));
    }

    void alone() {
        try {
            checkStaged(*makeSelfCommunicator());
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }

    void onThreads_data() {
        QTest::addColumn<int>("ranks");
        for (const int ranks : {2, 3, 4})
            QTest::addRow("%d ranks", ranks) << ranks;
    }
    void onThreads() {
        QFETCH(int, ranks);
        try {
            ::onThreads(ranks, checkStaged);
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }

    void underMpirun_data() {
        QTest::addColumn<int>("ranks");
        QTest::newRow("2 ranks") << 2;
        QTest::newRow("3 ranks") << 3;
    }
    void underMpirun() {
        QFETCH(int, ranks);
        if (QStandardPaths::findExecutable("mpirun").isEmpty())
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        QProcess job;
        job.start("mpirun", {"-np", QString::number(ranks), "--oversubscribe", "--bind-to", "none",
                             QCoreApplication::applicationFilePath()});
        QVERIFY(job.waitForFinished(60'000));
        QVERIFY2(job.exitCode() == 0, job.readAllStandardError().constData());
        QVERIFY(job.readAllStandardOutput().contains("all ranks passed"));
    }

    /// Without NCCL its stand-in names what is missing.
    void whatIsMissingIsNamed() {
        if (!ncclVersion().empty())
            QSKIP("this build has NCCL");
        const auto id = makeNcclId();
        QVERIFY(!id && id.error().text().find("no NCCL") != std::string::npos);
        const auto host = makeSelfCommunicator();
        QVERIFY(!makeNcclCommunicator(*host, "world"));
    }

    void stagedOnADevice() {
        if (const auto cuda = makeCudaMemory(); !cuda)
            QSKIP(cuda.error().text().c_str());
        try {
            ::onThreads(3, [](Communicator& host) {
                const auto memory = makeCudaMemory().value();
                for (const StagedOptions& options : {kSmall, StagedOptions{}}) {
                    const auto world = makeStagedCommunicator(host, memory, "world", options);
                    checkAll(*world, *memory);
                }
            });
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }

    /// One rank is all that NCCL takes on one device; tests/bench/bench_nccl tries more.
    void ncclOnADevice() {
        const auto cuda = makeCudaMemory();
        if (!cuda)
            QSKIP(cuda.error().text().c_str());
        if (ncclVersion().empty())
            QSKIP("this build has no NCCL");
        try {
            const auto host = makeSelfCommunicator();
            const auto world = makeNcclCommunicator(*host, "world");
            QVERIFY2(world.has_value(), world ? "" : world.error().text().c_str());
            checkAll(**world, **cuda);
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }
};

int main(int argc, char** argv) {
    if (launchedByMpi()) {
        return runAsRank();
    }
    QCoreApplication app(argc, argv);
    DeviceCommTest test;
    return QTest::qExec(&test, argc, argv);
}
#include "tst_device_comm.moc"
