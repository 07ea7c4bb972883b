// SPDX-License-Identifier: Apache-2.0
// The three axes of a job. Ranks are numbered tensor-parallel innermost, then data, then pipeline, so that a tensor group
// shares a node: rank = tensor + T × (data + D × pipeline).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "telehelm/ipc/result.h"

namespace telehelm::parallel {

enum class Axis : std::uint8_t { Tensor, Data, Pipeline };

struct Coordinates {
    int tensor = 0, data = 0, pipeline = 0;
    bool operator==(const Coordinates&) const = default;
};

/// Pure arithmetic; any thread.
class MeshShape {
public:
    /// Refused with what does not divide what unless tensor × data × pipeline is exactly `ranks`.
    /// More than config::kMostRanks are none of a job.
    [[nodiscard]] static Result<MeshShape> make(const config::ParallelConfig& parallel, int ranks);

    [[nodiscard]] int ranks() const { return m_tensor * m_data * m_pipeline; }
    [[nodiscard]] int size(Axis axis) const;
    [[nodiscard]] Coordinates coordinates(int rank) const;
    [[nodiscard]] int rank(const Coordinates& at) const;
    /// The ranks that differ from `rank` on that axis alone, `rank` included, in the axis' order.
    [[nodiscard]] std::vector<int> group(int rank, Axis axis) const;
    /// "tensor 4 × data 112 × pipeline 2"
    [[nodiscard]] std::string text() const;

private:
    MeshShape(int tensor, int data, int pipeline) : m_tensor(tensor), m_data(data), m_pipeline(pipeline) {}
    int m_tensor, m_data, m_pipeline;
};

} // namespace telehelm::parallel
