// SPDX-License-Identifier: Apache-2.0
// Does NCCL run with several ranks on one GPU, when each process claims to be another host (NCCL_HOSTID) and speaks over sockets?
// Forks the ranks before anything touches CUDA, runs every collective, checks the sums, and reports in one JSON line.
//   bench_nccl [--ranks N] [--timeout SECONDS]
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "comm/device_communicator.h"
#include "cuda_bench.h"

using namespace telehelm;
using namespace telehelm::bench;
using kernels::cuda::DeviceBuffer;
using kernels::cuda::Stream;

namespace {

struct Options {
    int ranks = 2;
    int timeout = 60;
};

/// One word of bytes from each rank to the parent, and the id the other way.
struct Pipe {
    std::array<int, 2> ends{};
    Pipe() {
        if (pipe(ends.data()) != 0) {
            std::perror("bench_nccl: pipe");
            std::exit(1);
        }
    }
};

void speakOverSockets(int rank) {
    setenv("NCCL_HOSTID", ("telehelm-" + std::to_string(rank)).c_str(), 1);
    setenv("NCCL_P2P_DISABLE", "1", 1);
    setenv("NCCL_SHM_DISABLE", "1", 1);
    setenv("NCCL_IB_DISABLE", "1", 1);
    setenv("NCCL_NET", "Socket", 1);
    setenv("NCCL_SOCKET_IFNAME", "lo", 0);
}

/// "" or what is wrong; `ms`: of an all-reduce of 64 MiB.
std::string tryCollectives(comm::DeviceCommunicator& world, double& ms) {
    const Stream stream;
    constexpr std::int64_t kCount = 1 << 24;
    const auto n = static_cast<float>(world.size());
    std::vector<float> values(kCount);
    for (std::int64_t i = 0; i < kCount; ++i) {
        values[static_cast<std::size_t>(i)] = static_cast<float>((i % 101) + world.rank());
    }
    const DeviceBuffer data(values.size() * 4);
    kernels::cuda::copyToDevice(data.data(), values.data(), data.bytes(), stream);
    world.allReduce(data.data(), values.size(), comm::DeviceType::Float, comm::Reduce::Sum, stream);
    kernels::cuda::copyToHost(values.data(), data.data(), data.bytes(), stream);
    world.wait(stream);
    for (std::int64_t i = 0; i < kCount; ++i) {
        if (values[static_cast<std::size_t>(i)] != n * static_cast<float>(i % 101) + n * (n - 1) / 2) {
            return "allReduce gives a wrong sum at element " + std::to_string(i);
        }
    }
    const auto block = values.size() / static_cast<std::size_t>(world.size());
    world.reduceScatter(data.data(), data.data() + static_cast<std::size_t>(world.rank()) * block * 4, block,
                        comm::DeviceType::Float, stream);
    world.allGather(data.data() + static_cast<std::size_t>(world.rank()) * block * 4, data.data(), block, comm::DeviceType::Float,
                    stream);
    kernels::cuda::copyToHost(values.data(), data.data(), data.bytes(), stream);
    world.wait(stream);
    for (std::size_t i = 0; i < block * static_cast<std::size_t>(world.size()); ++i) {
        if (values[i] != n * (n * static_cast<float>(i % 101) + n * (n - 1) / 2)) {
            return "reduceScatter and allGather give a wrong sum at element " + std::to_string(i);
        }
    }
    const auto part = world.split(0, -world.rank(), "turned round");
    part->broadcast(data.data(), 4096, 0, stream);
    part->wait(stream);
    ms = medianMs(
        stream, [&] { world.allReduce(data.data(), kCount, comm::DeviceType::Bf16, comm::Reduce::Max, stream); }, 5, 1);
    return {};
}

/// In a process of its own. Writes "ok <ms>" or the reason to `answer`.
void runRank(const Options& options, int rank, int idIn, const std::vector<int>& idOut, int answer) {
    speakOverSockets(rank);
    alarm(static_cast<unsigned>(2 * options.timeout + 60)); // whatever hangs ends, and the parent says by which signal
    std::string text;
    try {
        comm::NcclId id{};
        if (rank == 0) {
            const auto made = comm::makeNcclId();
            id = made ? *made : comm::NcclId{};
            text = made ? "" : made.error().text();
            for (const int peer : idOut) {
                if (write(peer, id.data(), id.size()) != static_cast<ssize_t>(id.size())) {
                    text = "the id could not be passed on";
                }
            }
        } else if (read(idIn, id.data(), id.size()) != static_cast<ssize_t>(id.size())) {
            text = "rank 0 gave no id";
        }
        if (text.empty()) {
            const auto world = comm::makeNcclCommunicator(id, rank, options.ranks, "one GPU",
                                                          {.timeout = std::chrono::seconds(options.timeout)});
            double ms = 0;
            text = world ? tryCollectives(**world, ms) : world.error().text();
            text = text.empty() ? "ok " + std::to_string(ms) : text;
        }
    } catch (const std::exception& error) {
        text = error.what();
    }
    if (write(answer, text.data(), text.size()) < 0) {
        std::_Exit(1);
    }
    std::_Exit(0);
}

std::string readAll(int file) {
    std::string text;
    std::array<char, 1024> part{};
    for (ssize_t got = 0; (got = read(file, part.data(), part.size())) > 0;) {
        text.append(part.data(), static_cast<std::size_t>(got));
    }
    return text;
}

int runAll(const Options& options) {
    std::vector<Pipe> ids(static_cast<std::size_t>(options.ranks)), answers(static_cast<std::size_t>(options.ranks));
    std::vector<int> toPeers;
    for (std::size_t rank = 1; rank < ids.size(); ++rank) {
        toPeers.push_back(ids[rank].ends[1]);
    }
    std::vector<pid_t> children;
    for (std::size_t rank = 0; rank < ids.size(); ++rank) {
        const pid_t child = fork();
        if (child == 0) {
            runRank(options, static_cast<int>(rank), ids[rank].ends[0], toPeers, answers[rank].ends[1]);
        }
        children.push_back(child);
        close(answers[rank].ends[1]);
    }
    Json line = {{"bench", "nccl_one_gpu"}, {"nccl", comm::ncclVersion()}, {"ranks", options.ranks}, {"ran", true}};
    std::vector<double> times;
    for (std::size_t rank = 0; rank < ids.size(); ++rank) {
        const std::string text = readAll(answers[rank].ends[0]);
        int status = 0;
        waitpid(children[rank], &status, 0);
        if (text.rfind("ok ", 0) == 0) {
            times.push_back(std::atof(text.c_str() + 3));
        } else {
            line["ran"] = false;
            line["rank_" + std::to_string(rank)] = !text.empty() ? text : "ended by signal " + std::to_string(WTERMSIG(status));
        }
    }
    if (line["ran"] == true) {
        line["all_reduce_32_mib_bf16_ms"] = *std::ranges::max_element(times);
    }
    print(line);
    return 0; // that NCCL refuses is an answer too
}

} // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; i += 2) {
        const std::string_view flag = argv[i];
        int* value = flag == "--ranks" ? &options.ranks : flag == "--timeout" ? &options.timeout : nullptr;
        if (value == nullptr || i + 1 >= argc || (*value = std::atoi(argv[i + 1])) < 1) {
            std::fputs(
                "bench_nccl [--ranks N] [--timeout SECONDS]: tries NCCL with N processes on one GPU, each as a host of its own\n",
                stderr);
            return flag == "--help" ? 0 : 2;
        }
    }
    // The parent must not touch CUDA before it forks: a child asks whether there is a device.
    const pid_t asks = fork();
    if (asks == 0) {
        std::_Exit(hasDevice("nccl_one_gpu") ? 0 : 3);
    }
    int status = 0;
    waitpid(asks, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return WIFEXITED(status) && WEXITSTATUS(status) == 3 ? 0 : 1;
    }
    if (comm::ncclVersion().empty()) {
        print({{"bench", "nccl_one_gpu"}, {"skipped", "this build has no NCCL"}});
        return 0;
    }
    return runAll(options);
}
