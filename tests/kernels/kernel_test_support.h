// SPDX-License-Identifier: Apache-2.0
// Random inputs and comparisons for kernel and model tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include <QDebug>

namespace telehelm::test {

/// Fresh numbers in each run; a failure is repeated with TELEHELM_TEST_SEED=<the printed seed>.
class Random {
public:
    Random() {
        const char* given = std::getenv("TELEHELM_TEST_SEED");
        const std::uint32_t seed = given ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
        qInfo("TELEHELM_TEST_SEED=%u", seed);
        m_engine.seed(seed);
    }
    template <typename T> std::vector<T> normals(std::int64_t size, double deviation = 1) {
        std::normal_distribution<double> distribution(0, deviation);
        std::vector<T> values(static_cast<std::size_t>(size));
        for (T& value : values)
            value = static_cast<T>(static_cast<float>(distribution(m_engine))); // exact in both precisions
        return values;
    }
    std::vector<std::int32_t> tokens(std::int64_t size, std::int64_t vocab) {
        std::uniform_int_distribution<std::int32_t> distribution(0, static_cast<std::int32_t>(vocab - 1));
        std::vector<std::int32_t> values(static_cast<std::size_t>(size));
        for (std::int32_t& value : values)
            value = distribution(m_engine);
        return values;
    }

private:
    std::mt19937 m_engine;
};

inline std::vector<double> widen(std::span<const float> values) {
    return {values.begin(), values.end()};
}

/// An output that must be overwritten: NaN everywhere.
template <typename T> std::vector<T> poison(std::int64_t size) {
    return std::vector<T>(static_cast<std::size_t>(size), std::numeric_limits<T>::quiet_NaN());
}

/// ‖a − b‖ / ‖b‖; NaN where either holds one. The absolute norm where b is zero.
template <typename A, typename B> double relativeError(const A& a, const B& b) {
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        const double expected = static_cast<double>(b[i]), gap = static_cast<double>(a[i]) - expected;
        difference += gap * gap;
        norm += expected * expected;
    }
    return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

/// max |a − b|; infinite where a holds NaN.
template <typename A, typename B> double largestGap(const A& a, const B& b) {
    double largest = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        const double gap = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        largest = gap <= largest ? largest : std::isnan(gap) ? std::numeric_limits<double>::infinity() : gap;
    }
    return largest;
}

} // namespace telehelm::test

/// Fails with both figures. NaN fails too.
#define COMPARE_NEAR(actual, expected, bound)                                                                                    \
    do {                                                                                                                         \
        const double error_ = telehelm::test::relativeError(actual, expected);                                                   \
        QVERIFY2(                                                                                                                \
            error_ <= (bound),                                                                                                   \
            qPrintable(QStringLiteral("%1: relative error %2 above %3").arg(QLatin1String(#actual)).arg(error_).arg(bound)));    \
    } while (false)
