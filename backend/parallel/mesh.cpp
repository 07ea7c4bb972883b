// SPDX-License-Identifier: Apache-2.0
#include "parallel/mesh.h"

namespace telehelm::parallel {
namespace {

std::unique_ptr<comm::Communicator> groupOf(const MeshShape& shape, comm::Communicator& world, Axis axis) {
    // A group's colour is its lowest rank; the key is the place on the axis, which grows with the rank.
    return world.split(shape.group(world.rank(), axis).front(), world.rank());
}

} // namespace

Mesh::Mesh(MeshShape shape, comm::Communicator& world)
    : m_shape(shape), m_world(world), m_tensorGroup(groupOf(shape, world, Axis::Tensor)),
      m_dataGroup(groupOf(shape, world, Axis::Data)), m_pipelineGroup(groupOf(shape, world, Axis::Pipeline)) {}

Mesh::Mesh(const Mesh& mesh, const Listeners& listeners)
    : m_shape(mesh.m_shape), m_world(mesh.m_world), m_tensorGroup(comm::watchedCommunicator(mesh.tensor(), listeners.tensor)),
      m_dataGroup(comm::watchedCommunicator(mesh.data(), listeners.data)),
      m_pipelineGroup(comm::watchedCommunicator(mesh.pipeline(), listeners.pipeline)) {}

} // namespace telehelm::parallel
