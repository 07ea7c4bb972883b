// SPDX-License-Identifier: Apache-2.0
// Which implementations there are and which one is the fastest here.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <utility>

#include "attention_kinds.h"
#include "telehelm/kernels/device.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr std::pair<const char*, std::unique_ptr<Attention> (*)()> kKinds[] = {
    {"cudnn", &makeCudnnAttention}, {"wgmma", &makeWgmmaAttention}, {"mma", &makeMmaAttention}};
constexpr int kTimedRuns = 7;
constexpr double kWorthIt = 0.9; // of the time of the one preferred so far

/// What one implementation works on, random.
struct Operands {
    DeviceBuffer qkv, out, dOut, dQkv, lse;

    Operands(const AttentionBatch& batch, const Stream& stream) {
        const auto elements = static_cast<std::size_t>(batch.B * batch.T * batch.H * batch.D);
        qkv = DeviceBuffer(3 * elements * sizeof(Bf16));
        dQkv = DeviceBuffer(3 * elements * sizeof(Bf16));
        out = DeviceBuffer(elements * sizeof(Bf16));
        dOut = DeviceBuffer(elements * sizeof(Bf16));
        lse = DeviceBuffer(static_cast<std::size_t>(batch.B * batch.T * batch.H) * sizeof(float));
        std::vector<Bf16> numbers(3 * elements); // zeros would run faster than what a model has
        std::minstd_rand random(1);
        std::uniform_real_distribution<float> uniform(-1.5F, 1.5F);
        std::ranges::generate(numbers, [&] { return toBf16(uniform(random)); });
        copyToDevice(qkv.data(), numbers.data(), qkv.bytes(), stream);
        copyToDevice(dOut.data(), numbers.data(), dOut.bytes(), stream);
        stream.synchronize();
    }
};

/// Median of forward and backward together, in ms.
double timeOf(Attention& attention, const Operands& on, const AttentionBatch& batch, const Stream& stream) {
    const DeviceBuffer scratch(attention.scratchBytes(batch));
    const float scale = 1.0F / std::sqrt(static_cast<float>(batch.D));
    std::array<double, kTimedRuns> times{};
    Event begin, end;
    for (int run = -1; run < kTimedRuns; ++run) { // one to warm up
        begin.record(stream);
        attention.forward(on.out.as<Bf16>(), on.lse.as<float>(), on.qkv.as<Bf16>(), batch, scale, scratch.data(), stream);
        attention.backward(on.dQkv.as<Bf16>(), on.dOut.as<Bf16>(), on.qkv.as<Bf16>(), on.out.as<Bf16>(), on.lse.as<float>(),
                           batch, scale, scratch.data(), stream);
        end.record(stream);
        end.synchronize();
        if (run >= 0)
            times[static_cast<std::size_t>(run)] = end.msSince(begin);
    }
    std::ranges::nth_element(times, times.begin() + kTimedRuns / 2);
    return times[kTimedRuns / 2];
}

} // namespace

std::vector<std::string> attentionKinds() {
    std::vector<std::string> kinds;
    if (cudaReport().devices.empty())
        return kinds;
    for (const auto& [name, make] : kKinds)
        if (make() != nullptr)
            kinds.emplace_back(name);
    return kinds;
}

std::unique_ptr<Attention> makeAttention(const std::string& kind) {
    for (const auto& [name, make] : kKinds)
        if (kind == name)
            if (auto attention = make())
                return attention;
    std::string known;
    for (const std::string& name : attentionKinds())
        known += " " + name;
    throw std::invalid_argument("attention “" + kind + "” is not one that this build and this device have:" + known);
}

AttentionChoice chooseAttention(const AttentionBatch& batch) {
    AttentionChoice choice;
    double best = 0;
    const Stream stream;
    const Operands operands(batch, stream);
    const auto note = [&](const std::string& text) { choice.why += (choice.why.empty() ? "" : ", ") + text; };
    for (const std::string& kind : attentionKinds()) {
        const auto attention = makeAttention(kind);
        try {
            static_cast<void>(attention->scratchBytes(batch));
        } catch (const std::runtime_error& error) { // a library that is there and does not take the shape
            note(kind + " cannot (" + error.what() + ")");
            continue;
        }
        const double ms = timeOf(*attention, operands, batch, stream);
        char text[64];
        std::snprintf(text, sizeof text, "%s %.3f ms", kind.c_str(), ms);
        note(text);
        if (choice.kind.empty() || ms < kWorthIt * best) {
            choice.kind = kind;
            best = ms;
        }
    }
    if (choice.kind.empty())
        throw std::runtime_error("attention: no CUDA device");
    choice.why += " forward and backward at B " + std::to_string(batch.B) + ", T " + std::to_string(batch.T) + ", H " +
                  std::to_string(batch.H) + ", D " + std::to_string(batch.D);
    return choice;
}

} // namespace telehelm::kernels::cuda
