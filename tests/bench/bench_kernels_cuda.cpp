// SPDX-License-Identifier: Apache-2.0
// The row-wise kernels of a device against their floors: the bytes that each must move once, over the copy bandwidth measured in
// the same call. One JSON object a line: bytes, FLOPs, time, gap (time / floor), share of the copy bandwidth.
//   bench_kernels_cuda [--rounds N] | --machine (the line about the machine alone; exit status 1 where there is no device)
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string_view>
#include <vector>

#include "cuda_bench.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/cuda/ops.h"
#include "telehelm/kernels/device.h"

using namespace telehelm;
using namespace telehelm::bench;
using kernels::cuda::Bf16;
using kernels::cuda::DeviceBuffer;
using kernels::cuda::Stream;

namespace {

constexpr double kBf16 = 2, kFp32 = 4;

class Bench {
public:
    explicit Bench(int rounds) : m_rounds(rounds), m_ceilings(measureCeilings(m_stream)) {}

    void run() {
        Json line = machine();
        line["copy_bytes_per_s"] = m_ceilings.bytesPerS;
        line["gemm_flops_per_s"] = m_ceilings.flopsPerS;
        print(line);
        for (const auto& [rows, width] : {std::pair<std::int64_t, std::int64_t>{16384, 8192}, {65536, 2048}, {131072, 512}}) {
            rmsNorm(rows, width);
        }
        for (const auto& [rows, width] : {std::pair<std::int64_t, std::int64_t>{16384, 5456}, {16384, 5504}, {65536, 1344}}) {
            swiglu(rows, width);
        }
        for (const std::int64_t vocab : {80000, 20000}) {
            crossEntropy(8192, vocab);
        }
        for (const auto& [rows, width] :
             {std::pair<std::int64_t, std::int64_t>{4096, 8192}, {16384, 2048}, {32768, 512}, {65536, 512}}) {
            embedding(rows, 80000, width);
        }
        adamw(std::int64_t{1} << 28);
        for (const auto& batch : {kernels::cuda::AttentionBatch{1, 4096, 16, 128}, {8, 4096, 4, 128}, {4, 4096, 16, 128}}) {
            attention(batch);
        }
    }

private:
    /// `bytes` moved once each and `flops`, beside the time that `work` takes.
    void tell(const char* kernel, const std::string& shape, double bytes, double flops, const std::function<void()>& work) {
        const double ms = medianMs(m_stream, work, m_rounds);
        const double floorMs = bytes / m_ceilings.bytesPerS * 1e3;
        print({{"bench", "kernels_cuda"},
               {"kernel", kernel},
               {"shape", shape},
               {"bytes", bytes},
               {"flops", flops},
               {"floor_ms", floorMs},
               {"ms", ms},
               {"gap", ms / floorMs},
               {"share_of_copy", floorMs / ms}});
    }
    static std::string text(std::int64_t rows, std::int64_t width) {
        return std::to_string(rows) + " x " + std::to_string(width);
    }
    [[nodiscard]] DeviceBuffer bf16(std::int64_t count) const { return randomBf16(count, 1.0F, m_stream); }
    [[nodiscard]] DeviceBuffer fp32(std::int64_t count, float deviation = 1.0F) const {
        return randomFloats(count, deviation, m_stream);
    }

    void rmsNorm(std::int64_t N, std::int64_t C) {
        const double all = static_cast<double>(N) * static_cast<double>(C);
        const DeviceBuffer x = bf16(N * C), delta = bf16(N * C), weight = bf16(C), out(x.bytes()), sum(x.bytes());
        const DeviceBuffer r(static_cast<std::size_t>(N) * 4);
        tell("rms_norm_forward", text(N, C), all * 2 * kBf16, all * 4, [&] {
            kernels::cuda::rmsNormForward(out.as<Bf16>(), r.as<float>(), x.as<Bf16>(), weight.as<Bf16>(), N, C, 1e-5F, m_stream);
        });
        tell("add_rms_norm_forward", text(N, C), all * 4 * kBf16, all * 5, [&] {
            kernels::cuda::addRmsNormForward(out.as<Bf16>(), r.as<float>(), sum.as<Bf16>(), x.as<Bf16>(), delta.as<Bf16>(),
                                             weight.as<Bf16>(), N, C, 1e-5F, m_stream);
        });
        const DeviceBuffer dWeight = fp32(C), scratch(kernels::cuda::rmsNormScratch(C));
        tell("rms_norm_backward", text(N, C), all * 4 * kBf16, all * 11, [&] {
            kernels::cuda::rmsNormBackward(sum.as<Bf16>(), dWeight.as<float>(), delta.as<Bf16>(), out.as<Bf16>(), x.as<Bf16>(),
                                           weight.as<Bf16>(), r.as<float>(), N, C, scratch.data(), m_stream);
        });
    }

    void swiglu(std::int64_t N, std::int64_t F) {
        const double all = static_cast<double>(N) * static_cast<double>(F);
        const DeviceBuffer gateUp = bf16(N * 2 * F), dOut = bf16(N * F), out(dOut.bytes()), dGateUp(gateUp.bytes());
        tell("swiglu_forward", text(N, F), all * 3 * kBf16, all * 5,
             [&] { kernels::cuda::swigluForward(out.as<Bf16>(), gateUp.as<Bf16>(), N, F, m_stream); });
        tell("swiglu_backward", text(N, F), all * 5 * kBf16, all * 12,
             [&] { kernels::cuda::swigluBackward(dGateUp.as<Bf16>(), dOut.as<Bf16>(), gateUp.as<Bf16>(), N, F, m_stream); });
    }

    /// Logits are read and their gradient written in place, once each.
    void crossEntropy(std::int64_t N, std::int64_t V) {
        const double all = static_cast<double>(N) * static_cast<double>(V);
        const DeviceBuffer logits = bf16(N * V), targets = randomTokens(N, V, m_stream), nats(static_cast<std::size_t>(N) * 4);
        const kernels::cuda::Logits view{logits.as<Bf16>(), N, V, V};
        tell("cross_entropy_forward", text(N, V), all * kBf16, all * 4,
             [&] { kernels::cuda::crossEntropyForward(nats.as<float>(), view, targets.as<std::int32_t>(), m_stream); });
        // From the second run on the logits are a gradient: other numbers, the same work.
        tell("cross_entropy_forward_backward", text(N, V), all * 2 * kBf16, all * 7, [&] {
            kernels::cuda::crossEntropyForwardBackward(nats.as<float>(), view, targets.as<std::int32_t>(), 1.0F, m_stream);
        });
    }

    /// Tokens as text has them: the k-th is 1 / k as frequent as the first, which is every sixteenth. Backward each row is read
    /// once, and each weight that occurs is read and written.
    void embedding(std::int64_t N, std::int64_t V, std::int64_t C) {
        std::vector<std::int32_t> words;
        for (const std::int32_t number : hostTokens(N, 1 << 30, 6)) {
            words.push_back(static_cast<std::int32_t>(std::pow(static_cast<double>(V), number / 1073741824.0)) - 1);
        }
        const auto distinct = static_cast<double>(std::set<std::int32_t>(words.begin(), words.end()).size());
        const DeviceBuffer tokens(words.size() * sizeof words.front());
        kernels::cuda::copyToDevice(tokens.data(), words.data(), tokens.bytes(), m_stream);
        const DeviceBuffer weight = bf16(V * C), rows = bf16(N * C), dWeight = fp32(V * C);
        const double all = static_cast<double>(N) * static_cast<double>(C);
        const std::string shape = text(N, C) + ", " + std::to_string(V) + " tokens";
        tell("embedding_forward", shape, all * 2 * kBf16, all, [&] {
            kernels::cuda::embeddingForward(rows.as<Bf16>(), weight.as<Bf16>(), tokens.as<std::int32_t>(), {0, V}, N, C, 1.0F,
                                            m_stream);
        });
        tell("embedding_backward", shape, all * kBf16 + distinct * static_cast<double>(C) * 2 * kFp32, all, [&] {
            kernels::cuda::embeddingBackward(dWeight.as<float>(), rows.as<Bf16>(), tokens.as<std::int32_t>(), {0, V}, N, C, 1.0F,
                                             m_stream);
        });
    }

    /// Parameter, both moments and gradient read; parameter, moments and the bf16 weight written.
    void adamw(std::int64_t size) {
        const DeviceBuffer parameters = fp32(size, 0.02F), first = fp32(size, 1e-3F), gradients = fp32(size, 1e-3F);
        const DeviceBuffer second(static_cast<std::size_t>(size) * 4), working(static_cast<std::size_t>(size) * 2);
        kernels::cuda::fillBytes(second.data(), 0x30, second.bytes(),
                                 m_stream); // 6.4e−10 in each: a second moment is never negative
        const kernels::AdamWStep<float> step{1e-4F, 0.1F, 0.9F, 0.95F, 1e-8F, 1.1F, 1.2F, 1.0F};
        std::vector<kernels::cuda::AdamWChunk> chunks;
        for (std::int64_t from = 0; from < size; from += kernels::cuda::kAdamWChunk) {
            chunks.push_back({from, kernels::cuda::kAdamWChunk, 0}); // `size` is a multiple of it
        }
        const DeviceBuffer chunkList(chunks.size() * sizeof chunks.front());
        kernels::cuda::copyToDevice(chunkList.data(), chunks.data(), chunkList.bytes(), m_stream);
        const double all = static_cast<double>(size);
        tell("adamw", std::to_string(size), all * (7 * kFp32 + kBf16), all * 14, [&] {
            kernels::cuda::adamw(parameters.as<float>(), working.as<Bf16>(), first.as<float>(), second.as<float>(),
                                 gradients.as<float>(), chunkList.as<kernels::cuda::AdamWChunk>(), std::ssize(chunks), {{step}},
                                 m_stream);
        });
        const DeviceBuffer sum(8), scratch(static_cast<std::size_t>(kernels::cuda::kSumScratch) * 8);
        tell("sum_of_squares", std::to_string(size), all * kFp32, all * 2,
             [&] { kernels::cuda::sumOfSquares(sum.as<double>(), gradients.as<float>(), size, scratch.as<double>(), m_stream); });
    }

    /// Here arithmetic is the floor: 2 products forward and 5 backward of T²/2 · D each, causal.
    void attention(const kernels::cuda::AttentionBatch& batch) {
        const auto rows = batch.B * batch.T;
        const auto width = batch.H * batch.D;
        const DeviceBuffer qkv = bf16(rows * 3 * width), out = bf16(rows * width), dOut = bf16(rows * width), dQkv(qkv.bytes());
        const DeviceBuffer lse(static_cast<std::size_t>(rows * batch.H) * 4);
        const double product = static_cast<double>(batch.B * batch.H) * static_cast<double>(batch.T * batch.T * batch.D);
        for (const std::string& kind : kernels::cuda::attentionKinds()) {
            const auto kernel = kernels::cuda::makeAttention(kind);
            const DeviceBuffer scratch(kernel->scratchBytes(batch) + 256);
            const double forwardMs = medianMs(
                m_stream,
                [&] {
                    kernel->forward(out.as<Bf16>(), lse.as<float>(), qkv.as<Bf16>(), batch, 0.0884F, scratch.data(), m_stream);
                },
                m_rounds);
            const double backwardMs = medianMs(
                m_stream,
                [&] {
                    kernel->backward(dQkv.as<Bf16>(), dOut.as<Bf16>(), qkv.as<Bf16>(), out.as<Bf16>(), lse.as<float>(), batch,
                                     0.0884F, scratch.data(), m_stream);
                },
                m_rounds);
            print({{"bench", "kernels_cuda"},
                   {"kernel", "attention_" + kind},
                   {"shape", "B " + std::to_string(batch.B) + " T " + std::to_string(batch.T) + " H " + std::to_string(batch.H) +
                                 " D " + std::to_string(batch.D)},
                   {"forward_ms", forwardMs},
                   {"forward_flops_per_s", 2 * product / (forwardMs * 1e-3)},
                   {"forward_gap", forwardMs * 1e-3 * m_ceilings.flopsPerS / (2 * product)},
                   {"backward_ms", backwardMs},
                   {"backward_flops_per_s", 5 * product / (backwardMs * 1e-3)},
                   {"backward_gap", backwardMs * 1e-3 * m_ceilings.flopsPerS / (5 * product)}});
        }
    }

    int m_rounds;
    Stream m_stream;
    Ceilings m_ceilings;
};

int tellMachine() {
    const kernels::CudaReport report = kernels::cudaReport();
    if (report.devices.empty()) {
        std::fprintf(stderr, "no CUDA device: %s\n", report.whyNone.c_str());
        return 1;
    }
    print(machine());
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    int rounds = 30;
    if (argc == 2 && std::string_view(argv[1]) == "--machine") {
        return tellMachine();
    }
    if (argc == 3 && std::string_view(argv[1]) == "--rounds") {
        rounds = std::atoi(argv[2]);
    } else if (argc != 1) {
        rounds = 0;
    }
    if (rounds < 1) {
        std::fputs("bench_kernels_cuda [--rounds N] | --machine\n"
                   "RMSNorm, SwiGLU, cross-entropy, embedding, AdamW and attention on a CUDA device against their floors.\n",
                   stderr);
        return argc == 2 && std::string_view(argv[1]) == "--help" ? 0 : 2;
    }
    if (!hasDevice("kernels_cuda")) {
        return 0;
    }
    try {
        Bench(rounds).run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_kernels_cuda: %s\n", error.what());
        return 1;
    }
    return 0;
}
