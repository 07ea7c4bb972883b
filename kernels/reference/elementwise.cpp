// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/elementwise.h"

namespace telehelm::kernels::reference {

template <typename T> void addTo(T* out, const T* in, std::int64_t size) {
    for (std::int64_t i = 0; i < size; ++i)
        out[i] += in[i];
}

template <typename T> double sumOfSquares(const T* x, std::int64_t size) {
    double sum = 0;
    for (std::int64_t i = 0; i < size; ++i)
        sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return sum;
}

template void addTo(float*, const float*, std::int64_t);
template void addTo(double*, const double*, std::int64_t);
template double sumOfSquares(const float*, std::int64_t);
template double sumOfSquares(const double*, std::int64_t);

} // namespace telehelm::kernels::reference
