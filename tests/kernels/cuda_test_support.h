// SPDX-License-Identifier: Apache-2.0
// What the tests of CUDA's kernels share. Each is built twice: for a device (skipped where there is none), and over the same
// sources on the host (…_on_host).
#pragma once

#include <QtTest>

#include <memory>

#include "kernel_test_support.h"
#include "telehelm/kernels/cuda/bf16.h"
#include "telehelm/kernels/cuda/runtime.h"
#include "telehelm/kernels/device.h"

namespace telehelm::test {

namespace cuda = kernels::cuda;
using cuda::Bf16;

/// A result rounded once to bf16 is off by 2⁻⁹ at most, 1.2e-3 in the norm; sums of rounded things a little more. One wrong row
/// of 300 or one wrong term gives 5e-2 and more.
inline constexpr double kBf16Bound = 4e-3;
/// fp32 results from bf16 inputs.
inline constexpr double kFloatBound = 5e-6;

/// A vector on the device.
template <typename T> class OnDevice {
public:
    OnDevice(const std::vector<T>& values, const cuda::Stream& stream) : m_stream(stream), m_buffer(values.size() * sizeof(T)) {
        cuda::copyToDevice(m_buffer.data(), values.data(), m_buffer.bytes(), stream);
        stream.synchronize();
    }
    operator T*() const { return m_buffer.template as<T>(); } // NOLINT: as kernels take it
    [[nodiscard]] std::vector<T> read() const {
        std::vector<T> values(m_buffer.bytes() / sizeof(T));
        cuda::copyToHost(values.data(), m_buffer.data(), m_buffer.bytes(), m_stream);
        m_stream.synchronize();
        return values;
    }

private:
    const cuda::Stream& m_stream;
    cuda::DeviceBuffer m_buffer;
};

inline std::vector<double> widen(const std::vector<Bf16>& values) {
    std::vector<double> wide;
    for (const Bf16 value : values)
        wide.push_back(static_cast<double>(cuda::toFloat(value)));
    return wide;
}

inline std::vector<Bf16> rounded(const std::vector<float>& values) {
    std::vector<Bf16> out;
    for (const float value : values)
        out.push_back(cuda::toBf16(value));
    return out;
}

inline std::vector<Bf16> poisonBf16(std::int64_t size) {
    return std::vector<Bf16>(static_cast<std::size_t>(size), Bf16{0x7FC0});
}

/// A test with a stream of the first device, and random numbers.
class CudaTest : public QObject {
protected:
    /// In initTestCase: without a device everything is skipped.
    void start() {
        const kernels::CudaReport report = kernels::cudaReport();
        if (report.devices.empty())
            QSKIP(qPrintable(QString("no CUDA device: %1").arg(report.whyNone.c_str())));
        m_stream = std::make_unique<cuda::Stream>();
    }
    std::vector<Bf16> numbers(std::int64_t size, double deviation = 1) {
        return rounded(m_random.normals<float>(size, deviation));
    }
    template <typename T> OnDevice<T> device(const std::vector<T>& values) { return {values, *m_stream}; }

    Random m_random;
    std::unique_ptr<cuda::Stream> m_stream;
};

} // namespace telehelm::test
