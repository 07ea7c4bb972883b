// SPDX-License-Identifier: Apache-2.0
// The flat buffers: between device and host, the optimizer's step, and what the last micro-batch left.
#include <algorithm>
#include <limits>
#include <stdexcept>

#include "model/cuda_engine.h"

namespace telehelm::model {

namespace cuda = kernels::cuda;

std::span<float> CudaEngine::parameters() {
    if (m_parametersMoved) {
        m_hostParameters.resize(static_cast<std::size_t>(m_parameterCount));
        download(Buffer::Parameters, 0, m_hostParameters);
        m_parametersMoved = false;
    }
    return m_hostParameters;
}

std::span<float> CudaEngine::gradients() {
    if (m_gradientsMoved) {
        m_hostGradients.resize(static_cast<std::size_t>(m_parameterCount));
        download(Buffer::Gradients, 0, m_hostGradients);
        m_gradientsMoved = false;
    }
    return m_hostGradients;
}

void CudaEngine::takeParameters() {
    upload(Buffer::Parameters, 0, parameters());
    m_parametersMoved = false;
}

void CudaEngine::makeMoments() {
    for (cuda::DeviceBuffer* moment : {&m_first, &m_second}) {
        *moment = cuda::DeviceBuffer(m_master.bytes());
        cuda::fillBytes(moment->data(), 0, moment->bytes(), m_stream);
    }
}

void CudaEngine::clearGradients() {
    cuda::fillBytes(m_gradients.data(), 0, m_gradients.bytes(), m_stream);
    m_gradientsMoved = true;
}

double CudaEngine::gradientSquares(std::int64_t from, std::int64_t to) {
    cuda::sumOfSquares(m_sum, m_gradients.as<float>() + from, to - from, m_sumScratch, m_stream);
    return lossSum();
}

double CudaEngine::countedSquares(std::span<const Counted> stretches) {
    std::vector<cuda::AdamWChunk> chunks;
    for (const Counted& stretch : stretches)
        for (std::int64_t at = stretch.from; at < stretch.to; at += cuda::kAdamWChunk)
            chunks.push_back({at, static_cast<std::int32_t>(std::min<std::int64_t>(cuda::kAdamWChunk, stretch.to - at)), stretch.counts ? 0 : 1});
    bring(m_counted, std::move(chunks));
    const std::size_t count = m_counted.chunks.size();
    if (m_partialSquares.bytes() < count * sizeof(double))
        m_partialSquares = cuda::DeviceBuffer(count * sizeof(double));
    cuda::sumOfSquares(m_sum, m_gradients.as<float>(), m_counted.onDevice.as<cuda::AdamWChunk>(), static_cast<std::int64_t>(count),
                       m_partialSquares.as<double>(), m_stream);
    return lossSum();
}

/// At the first step, and where the stretches are others: equal rates part.
void CudaEngine::bring(ChunkList& list, std::vector<cuda::AdamWChunk> chunks) {
    const auto isEqual = [](const cuda::AdamWChunk& a, const cuda::AdamWChunk& b) {
        return a.from == b.from && a.size == b.size && a.group == b.group;
    };
    if (std::ranges::equal(chunks, list.chunks, isEqual))
        return;
    finish(); // the last list may still be read
    list.chunks = std::move(chunks);
    const std::size_t bytes = list.chunks.size() * sizeof(cuda::AdamWChunk);
    if (list.onDevice.bytes() < bytes)
        list.onDevice = cuda::DeviceBuffer(bytes);
    cuda::copyToDevice(list.onDevice.data(), list.chunks.data(), bytes, m_stream);
    finish();
}

/// The groups are few: weights of one kind share rate and decay.
void CudaEngine::adamw(std::span<const Update> updates, const std::function<void(std::size_t bucket)>& given) {
    cuda::AdamWGroups groups{};
    std::size_t count = 0, last = 0;
    std::vector<cuda::AdamWChunk> chunks;
    std::vector<std::size_t> ends(m_buckets.size()); // of each bucket's chunks
    const auto groupOf = [&](const kernels::AdamWStep<float>& step) {
        const auto isSame = [&](const kernels::AdamWStep<float>& other) { return step.rate == other.rate && step.decay == other.decay; };
        const auto group = static_cast<std::size_t>(std::find_if(groups.steps, groups.steps + count, isSame) - groups.steps);
        if (group == std::size(groups.steps))
            throw std::logic_error("model: more kinds of weights than AdamW's launch takes");
        if (group == count)
            groups.steps[count++] = step;
        return static_cast<std::int32_t>(group);
    };
    for (const Update& update : updates) {
        const std::size_t bucket = bucketOf(update.from);
        if (bucket < last || bucket >= m_buckets.size() || update.from < ownFrom(bucket) || update.to > ownTo(bucket) || m_first.bytes() == 0)
            throw std::out_of_range("model: an update outside of what has moments");
        const std::int32_t group = groupOf(update.step);
        for (std::int64_t at = update.from; at < update.to; at += cuda::kAdamWChunk)
            chunks.push_back({at - ownFrom(bucket), static_cast<std::int32_t>(std::min<std::int64_t>(cuda::kAdamWChunk, update.to - at)), group});
        for (; last < bucket; ++last)
            ends[last + 1] = ends[last];
        ends[bucket] = chunks.size();
    }
    std::fill(ends.begin() + static_cast<std::ptrdiff_t>(last), ends.end(), chunks.size());
    bring(m_updates, std::move(chunks));
    for (std::size_t bucket = 0; bucket < m_buckets.size(); ++bucket) {
        const std::size_t begin = bucket > 0 ? ends[bucket - 1] : 0;
        const std::int64_t from = ownFrom(bucket), inShard = m_buckets[bucket].from / m_dataRanks;
        cuda::adamw(m_master.as<float>() + inShard, m_weights.as<Bf16>() + from, m_first.as<float>() + inShard,
                    m_second.as<float>() + inShard, m_gradients.as<float>() + from, m_updates.onDevice.as<cuda::AdamWChunk>() + begin,
                    static_cast<std::int64_t>(ends[bucket] - begin), groups, m_stream);
        if (given)
            given(bucket);
    }
    m_parametersMoved = true;
}

/// Where an element lies that is here in fp32.
float* CudaEngine::place(Buffer buffer, std::int64_t from) {
    const std::size_t bucket = bucketOf(from);
    const std::int64_t inShard = m_buckets[bucket].from / m_dataRanks + from - ownFrom(bucket);
    switch (buffer) {
    case Buffer::Parameters:
        return m_master.as<float>() + inShard;
    case Buffer::Gradients:
        return m_gradients.as<float>() + from;
    case Buffer::FirstMoment:
        return m_first.as<float>() + inShard;
    case Buffer::SecondMoment:
        return m_second.as<float>() + inShard;
    }
    return nullptr;
}

void CudaEngine::download(Buffer buffer, std::int64_t from, std::span<float> host) {
    if (buffer == Buffer::Parameters) {
        downloadParameters(from, host);
        return;
    }
    cuda::copyToHost(host.data(), place(buffer, from), host.size_bytes(), m_stream);
    finish();
}

void CudaEngine::upload(Buffer buffer, std::int64_t from, std::span<const float> host) {
    if (buffer == Buffer::Parameters) {
        uploadParameters(from, host);
        return;
    }
    cuda::copyToDevice(place(buffer, from), host.data(), host.size_bytes(), m_stream);
    m_gradientsMoved |= buffer == Buffer::Gradients;
    finish();
}

template <typename Own, typename Others>
void CudaEngine::byShard(std::int64_t from, std::int64_t to, const Own& own, const Others& others) const {
    for (std::size_t bucket = bucketOf(from); bucket < m_buckets.size() && m_buckets[bucket].from < to; ++bucket) {
        const std::int64_t first = std::max(from, m_buckets[bucket].from), last = std::min(to, m_buckets[bucket].to);
        const std::int64_t begin = std::clamp(ownFrom(bucket), first, last), end = std::clamp(ownTo(bucket), first, last);
        if (first < begin)
            others(first, begin);
        if (begin < end)
            own(begin, end);
        if (end < last)
            others(end, last);
    }
}

void CudaEngine::downloadParameters(std::int64_t from, std::span<float> host) {
    std::vector<Bf16> rounded; // what is here in bf16 alone
    const auto at = [from](std::int64_t element) { return static_cast<std::size_t>(element - from); };
    const std::int64_t end = from + std::ssize(host);
    byShard(
        from, end,
        [&](std::int64_t begin, std::int64_t to) {
            cuda::copyToHost(&host[at(begin)], place(Buffer::Parameters, begin), static_cast<std::size_t>(to - begin) * sizeof(float),
                             m_stream);
        },
        [&](std::int64_t begin, std::int64_t to) {
            rounded.resize(host.size());
            cuda::copyToHost(&rounded[at(begin)], weight(begin), static_cast<std::size_t>(to - begin) * sizeof(Bf16), m_stream);
        });
    finish();
    byShard(
        from, end, [](std::int64_t, std::int64_t) {},
        [&](std::int64_t begin, std::int64_t to) {
            std::transform(&rounded[at(begin)], rounded.data() + at(to), &host[at(begin)], [](Bf16 value) { return cuda::toFloat(value); });
        });
}

void CudaEngine::uploadParameters(std::int64_t from, std::span<const float> host) {
    std::vector<Bf16> rounded; // what has no place in fp32 here
    const auto at = [from](std::int64_t element) { return static_cast<std::size_t>(element - from); };
    byShard(
        from, from + std::ssize(host),
        [&](std::int64_t begin, std::int64_t to) {
            float* const master = place(Buffer::Parameters, begin);
            cuda::copyToDevice(master, &host[at(begin)], static_cast<std::size_t>(to - begin) * sizeof(float), m_stream);
            cuda::toBf16(m_weights.as<Bf16>() + begin, master, to - begin, m_stream);
        },
        [&](std::int64_t begin, std::int64_t to) {
            rounded.resize(host.size());
            std::transform(&host[at(begin)], host.data() + at(to), &rounded[at(begin)], [](float value) { return cuda::toBf16(value); });
            cuda::copyToDevice(m_weights.as<Bf16>() + begin, &rounded[at(begin)], static_cast<std::size_t>(to - begin) * sizeof(Bf16),
                               m_stream);
        });
    finish();
    m_parametersMoved = true;
}

/// Tensors stay on the device; only whether they are finite comes here.
std::vector<TensorView> CudaEngine::lastForward() const {
    static constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
    std::vector<TensorView> tensors;
    if (m_last == nullptr)
        return tensors;
    const std::int64_t N = m_B * m_T, M = ownRows(N);
    const auto add = [&](std::string name, const Bf16* values, std::int64_t size) {
        std::int32_t count = 0;
        cuda::countNonFinite(m_count, values, size, m_stream);
        cuda::copyToHost(&count, m_count, sizeof count, m_stream);
        finish();
        tensors.push_back({std::move(name), count == 0 ? std::span<const float>() : std::span(&kNaN, 1)});
    };
    const auto prefixOf = [](std::int64_t layer) { return "layers." + std::to_string(layer) + "."; };
    const std::int64_t first = m_parallel.chunks[static_cast<std::size_t>(m_last->chunk)].first;
    for (std::size_t i = 0; i < m_last->layers.size(); ++i) {
        const LayerActivations& layer = m_last->layers[i];
        const std::int64_t number = first + static_cast<std::int64_t>(i);
        const std::string prefix = prefixOf(number);
        add(number == 0 ? "embedding" : prefixOf(number - 1) + "ffn.down", layer.input, M * m_C);
        if (m_recompute == Recompute::Full)
            continue; // the layers share the rest
        const bool isKept = m_recompute == Recompute::None;
        if (isKept)
            add(prefix + "attention.norm", layer.normed1, M * m_C);
        add(prefix + "attention.qkv", layer.qkv, N * 3 * m_ownC);
        add(prefix + "attention", layer.attention, N * m_ownC);
        add(prefix + "attention.out", layer.middle, M * m_C);
        if (isKept) {
            add(prefix + "ffn.norm", layer.normed2, M * m_C);
            add(prefix + "ffn.gate_up", layer.act,
                N * m_ownF); // after SwiGLU: gate and up themselves have become their gradients
        }
    }
    add(prefixOf(first + static_cast<std::int64_t>(m_last->layers.size()) - 1) + "ffn.down", m_last->output, M * m_C);
    if (m_last->ends && m_lastHadHead) {
        add("norm", m_normed, M * m_C);
        cuda::copyToHost(m_hostNats.data(), m_nats, m_hostNats.bytes(), m_stream);
        finish();
        tensors.push_back({"loss", m_hostNats.as<const float>()});
    }
    return tensors;
}

} // namespace telehelm::model
