// SPDX-License-Identifier: Apache-2.0
// A job's mesh with its communicators.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "comm/watched_communicator.h"
#include "parallel/mesh_shape.h"

namespace telehelm::parallel {

/// The shape with this rank's communicators. Trainer thread only.
class Mesh {
public:
    /// Collective over `world`, which it borrows.
    Mesh(MeshShape shape, comm::Communicator& world);
    /// The same ranks and communicators as `mesh`, each axis' calls told to its listener; borrows all of them.
    struct Listeners {
        comm::CallListener &tensor, &data, &pipeline;
    };
    Mesh(const Mesh& mesh, const Listeners& listeners);

    [[nodiscard]] const MeshShape& shape() const { return m_shape; }
    [[nodiscard]] Coordinates own() const { return m_shape.coordinates(m_world.rank()); }
    [[nodiscard]] comm::Communicator& world() const { return m_world; }
    [[nodiscard]] comm::Communicator& tensor() const { return *m_tensorGroup; }
    [[nodiscard]] comm::Communicator& data() const { return *m_dataGroup; }
    [[nodiscard]] comm::Communicator& pipeline() const { return *m_pipelineGroup; }

private:
    MeshShape m_shape;
    comm::Communicator& m_world;
    std::unique_ptr<comm::Communicator> m_tensorGroup, m_dataGroup, m_pipelineGroup;
};

} // namespace telehelm::parallel
