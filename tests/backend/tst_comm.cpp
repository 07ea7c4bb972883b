// SPDX-License-Identifier: Apache-2.0
// Every communicator passes the same checks: alone in this process, and as 2 and 3 ranks of mpirun (this program again).
#include <QtTest>

#include <cstring>
#include <numeric>
#include <thread>

#include "mpirun_self.h"

#include "comm/mpi_world.h"

using namespace telehelm::comm;

namespace {

void expect(bool holds, const char* what) {
    if (!holds) {
        throw std::runtime_error(what);
    }
}

void checkReductions(Communicator& world) {
    const int n = world.size();
    const int r = world.rank();
    std::vector<double> values = {static_cast<double>(r), -static_cast<double>(r), 1.0};
    world.allReduce(std::span(values), Reduce::Sum);
    expect(values == std::vector<double>({n * (n - 1) / 2.0, -n * (n - 1) / 2.0, static_cast<double>(n)}),
           "allReduce sum of double");
    std::vector<float> extremes = {static_cast<float>(r)};
    world.allReduce(std::span(extremes), Reduce::Max);
    expect(extremes[0] == static_cast<float>(n - 1), "allReduce max");
    extremes[0] = static_cast<float>(r);
    world.allReduce(std::span(extremes), Reduce::Min);
    expect(extremes[0] == 0.0F, "allReduce min");
}

void checkScatterAndGather(Communicator& world) {
    const auto n = static_cast<std::size_t>(world.size());
    const auto r = static_cast<std::size_t>(world.rank());
    constexpr std::size_t kBlock = 1000;
    std::vector<float> in(n * kBlock);
    std::iota(in.begin(), in.end(), static_cast<float>(r)); // rank r: r, r+1, …
    std::vector<float> shard(kBlock);
    world.reduceScatter(in, shard);
    for (std::size_t i = 0; i < kBlock; ++i) {
        const double sum = static_cast<double>(n * (r * kBlock + i)) + static_cast<double>(n * (n - 1)) / 2.0;
        expect(shard[i] == static_cast<float>(sum), "reduceScatter");
    }
    std::vector<float> all(n * kBlock, -1.0F);
    world.allGather(shard, all);
    expect(std::equal(shard.begin(), shard.end(), all.begin() + static_cast<std::ptrdiff_t>(r * kBlock)), "allGather, own block");
    std::vector<float> inPlace(n * kBlock, -1.0F);
    std::copy(shard.begin(), shard.end(), inPlace.begin() + static_cast<std::ptrdiff_t>(r * kBlock));
    world.allGather(std::span<const float>(inPlace).subspan(r * kBlock, kBlock), inPlace);
    expect(inPlace == all, "allGather in place");
}

/// Several on their way at once, finished in another order than started; twice, so that what they hold is used again.
void checkStarted(Communicator& world) {
    const auto n = static_cast<std::size_t>(world.size());
    const auto r = static_cast<std::size_t>(world.rank());
    for (const std::size_t block : {std::size_t{1}, std::size_t{70'000}, std::size_t{333}}) {
        std::vector<std::vector<float>> in(3, std::vector<float>(n * block)), sums(3, std::vector<float>(block)), all(3, std::vector<float>(n * block));
        std::vector<int> tickets;
        for (std::size_t k = 0; k < 3; ++k) {
            for (std::size_t i = 0; i < in[k].size(); ++i) {
                in[k][i] = 0.1F * static_cast<float>((i * 7 + r * 13 + k) % 1000);
            }
            tickets.push_back(world.startReduceScatter(in[k], sums[k]));
            std::fill_n(all[k].begin() + static_cast<std::ptrdiff_t>(r * block), block, static_cast<float>(10 * k + r));
            tickets.push_back(world.startAllGather(std::span<const float>(all[k]).subspan(r * block, block), all[k])); // in place
            world.progress();
        }
        for (const std::size_t ticket : {4, 1, 0, 3, 5, 2}) {
            world.finish(tickets[ticket]);
        }
        for (std::size_t k = 0; k < 3; ++k) {
            for (std::size_t i = 0; i < block; ++i) {
                float sum = 0; // in the order of the ranks, bit for bit
                for (std::size_t rank = 0; rank < n; ++rank) {
                    const float part = 0.1F * static_cast<float>(((r * block + i) * 7 + rank * 13 + k) % 1000);
                    sum = rank == 0 ? part : sum + part;
                }
                expect(sums[k][i] == sum, "startReduceScatter");
            }
            for (std::size_t i = 0; i < n * block; ++i) {
                expect(all[k][i] == static_cast<float>(10 * k + i / block), "startAllGather");
            }
        }
    }
}

void checkMessages(Communicator& world) {
    int word = world.rank() == world.size() - 1 ? 4711 : 0;
    world.broadcast(std::as_writable_bytes(std::span(&word, 1)), world.size() - 1);
    expect(word == 4711, "broadcast");
    int own = world.rank();
    int other = -1;
    const int next = (world.rank() + 1) % world.size();
    const int previous = (world.rank() + world.size() - 1) % world.size();
    world.send(std::as_bytes(std::span(&own, 1)), next, 7);
    world.recv(std::as_writable_bytes(std::span(&other, 1)), previous, 7);
    expect(other == previous, "send and recv around the ring");
    world.barrier();
}

void checkSplit(Communicator& world) {
    const auto halves = world.split(world.rank() % 2, -world.rank()); // keys turn the order round
    std::vector<double> count = {1.0};
    halves->allReduce(std::span(count), Reduce::Sum);
    expect(static_cast<int>(count[0]) == halves->size() && halves->size() == (world.size() + 1 - world.rank() % 2) / 2,
           "split sizes");
    expect(halves->rank() == halves->size() - 1 - world.rank() / 2, "split order");
}

void checkFailure(Communicator& world) {
    std::vector<float> three(3);
    std::vector<float> two(2 * static_cast<std::size_t>(world.size()));
    bool thrown = false;
    try {
        world.reduceScatter(three, two);
    } catch (const std::runtime_error&) {
        thrown = true;
    }
    expect(thrown, "lengths that do not match must throw");
    int word = 0;
    std::string text;
    try {
        world.broadcast(std::as_writable_bytes(std::span(&word, 1)), world.size() + 5);
    } catch (const std::runtime_error& error) {
        text = error.what();
    }
    expect(!text.empty(), "a broadcast from no rank must throw");
    expect(!launchedByMpi() || text.find("MPI_Bcast(data.data()") == 0, "the error must hold the call's text");
}

void checkAll(Communicator& world) {
    checkReductions(world);
    checkScatterAndGather(world);
    checkStarted(world);
    checkMessages(world);
    checkSplit(world);
    checkFailure(world);
}

int runAsRank() {
    const MpiWorld mpi;
    try {
        const auto world = mpi.communicator();
        expect(mpi.localRanks() == world->size(), "localRanks on one machine");
        checkAll(*world);
        if (world->rank() == 0) {
            std::puts("all ranks passed");
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "failed: %s\n", error.what());
        mpi.abort(1);
    }
    return 0;
}

} // namespace

class CommTest : public QObject {
    Q_OBJECT
private slots:
    void alone() {
        const auto world = makeSelfCommunicator();
        try {
            checkAll(*world);
        } catch (const std::exception& error) {
            QFAIL(error.what());
        }
    }

    void threads() {
        std::vector<std::string> failures(3);
        {
            auto ranks = makeThreadCommunicators(3);
            std::vector<std::thread> threads;
            for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
                threads.emplace_back([&failures, rank, own = std::move(ranks[rank])] {
                    try {
                        checkReductions(*own);
                        checkScatterAndGather(*own);
                        checkStarted(*own);
                        checkMessages(*own);
                        checkSplit(*own);
                    } catch (const std::exception& error) {
                        failures[rank] = error.what();
                    }
                });
            }
            std::ranges::for_each(threads, &std::thread::join);
        }
        for (const std::string& failure : failures) {
            QVERIFY2(failure.empty(), failure.c_str());
        }
    }

    void underMpirun_data() {
        QTest::addColumn<int>("ranks");
        QTest::newRow("2 ranks") << 2;
        QTest::newRow("3 ranks") << 3;
    }
    void underMpirun() {
        QFETCH(int, ranks);
        if (!telehelm::tests::hasMpirun()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        const telehelm::tests::MpiJob job = telehelm::tests::mpirunSelf(ranks);
        QVERIFY(job.ended);
        QVERIFY2(job.exitCode == 0, job.errors.constData());
        QVERIFY(job.output.contains("all ranks passed"));
    }
};

int main(int argc, char** argv) {
    if (launchedByMpi()) {
        return runAsRank();
    }
    QCoreApplication app(argc, argv);
    CommTest test;
    return QTest::qExec(&test, argc, argv);
}
#include "tst_comm.moc"
