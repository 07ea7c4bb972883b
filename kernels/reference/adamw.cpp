// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/adamw.h"

#include <cmath>

namespace telehelm::kernels::reference {

template <typename T>
void adamw(T* parameters, T* first, T* second, const T* gradients, std::int64_t size, const AdamWStep<T>& step) {
    for (std::int64_t i = 0; i < size; ++i) {
        const T g = step.gradScale * gradients[i];
        first[i] = step.beta1 * first[i] + (1 - step.beta1) * g;
        second[i] = step.beta2 * second[i] + (1 - step.beta2) * g * g;
        const T update = first[i] * step.firstCorrection / (std::sqrt(second[i] * step.secondCorrection) + step.epsilon);
        parameters[i] -= step.rate * step.decay * parameters[i] + step.rate * update;
    }
}

template void adamw(float*, float*, float*, const float*, std::int64_t, const AdamWStep<float>&);
template void adamw(double*, double*, double*, const double*, std::int64_t, const AdamWStep<double>&);

} // namespace telehelm::kernels::reference
