// SPDX-License-Identifier: Apache-2.0
#include "parallel/mesh_shape.h"

namespace telehelm::parallel {
namespace {

std::string axis(const char* name, int value) {
    return std::string(name) + " (" + std::to_string(value) + ")";
}

} // namespace

Result<MeshShape> MeshShape::make(const config::ParallelConfig& parallel, int ranks) {
    const int T = parallel.tensor;
    const int D = parallel.data;
    const int P = parallel.pipeline;
    if (T < 1 || D < 1 || P < 1) {
        return fail(ErrorCode::InvalidArgument,
                    axis("tensor", T) + ", " + axis("data", D) + " and " + axis("pipeline", P) + " must each be at least 1",
                    "[parallel]");
    }
    const std::int64_t product = parallel.product();
    if (product > config::kMostRanks) {
        return fail(ErrorCode::InvalidArgument,
                    axis("tensor", T) + " × " + axis("data", D) + " × " + axis("pipeline", P) + " makes " + std::to_string(product) +
                        " ranks; a job has at most " + std::to_string(config::kMostRanks),
                    "[parallel]");
    }
    if (product == ranks) {
        return MeshShape(T, D, P);
    }
    std::string why;
    if (ranks % T != 0) {
        why = axis("tensor", T) + " does not divide the " + std::to_string(ranks) + " ranks that were launched";
    } else if ((ranks / T) % P != 0) {
        why = axis("pipeline", P) + " does not divide the " + std::to_string(ranks / T) + " tensor groups of the " +
              std::to_string(ranks) + " ranks that were launched";
    } else {
        why = std::to_string(ranks) + " ranks were launched; with tensor " + std::to_string(T) + " and pipeline " +
              std::to_string(P) + " that makes data = " + std::to_string(ranks / T / P) + ", not " + std::to_string(D);
    }
    return fail(ErrorCode::InvalidArgument,
                why + "; launch " + std::to_string(product) + " ranks (mpirun -np " + std::to_string(product) + ") or change [parallel]",
                "[parallel]");
}

int MeshShape::size(Axis axis) const {
    return axis == Axis::Tensor ? m_tensor : axis == Axis::Data ? m_data : m_pipeline;
}

Coordinates MeshShape::coordinates(int rank) const {
    return {.tensor = rank % m_tensor, .data = rank / m_tensor % m_data, .pipeline = rank / m_tensor / m_data};
}

int MeshShape::rank(const Coordinates& at) const {
    return at.tensor + m_tensor * (at.data + m_data * at.pipeline);
}

std::vector<int> MeshShape::group(int rank, Axis axis) const {
    std::vector<int> members;
    Coordinates at = coordinates(rank);
    int& place = axis == Axis::Tensor ? at.tensor : axis == Axis::Data ? at.data : at.pipeline;
    for (place = 0; place < size(axis); ++place) {
        members.push_back(this->rank(at));
    }
    return members;
}

std::string MeshShape::text() const {
    return "tensor " + std::to_string(m_tensor) + " × data " + std::to_string(m_data) + " × pipeline " +
           std::to_string(m_pipeline);
}

} // namespace telehelm::parallel
