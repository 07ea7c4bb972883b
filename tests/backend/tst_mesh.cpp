// SPDX-License-Identifier: Apache-2.0
#include <QtTest>

#include <set>

#include "parallel/mesh.h"

using namespace telehelm;
using namespace telehelm::parallel;

class MeshTest : public QObject {
    Q_OBJECT
private slots:
    void shapes_data() {
        QTest::addColumn<int>("tensor");
        QTest::addColumn<int>("data");
        QTest::addColumn<int>("pipeline");
        for (const int tensor : {1, 2, 4}) {
            for (const int data : {1, 3, 112}) {
                for (const int pipeline : {1, 2, 5}) {
                    QTest::addRow("%d x %d x %d", tensor, data, pipeline) << tensor << data << pipeline;
                }
            }
        }
    }
    void shapes() {
        QFETCH(int, tensor);
        QFETCH(int, data);
        QFETCH(int, pipeline);
        const auto mesh = MeshShape::make({.tensor = tensor, .pipeline = pipeline, .data = data}, tensor * data * pipeline);
        QVERIFY(mesh);
        for (const Axis axis : {Axis::Tensor, Axis::Data, Axis::Pipeline}) {
            std::multiset<int> seen; // the groups of an axis are a partition of the ranks
            for (int rank = 0; rank < mesh->ranks(); ++rank) {
                QCOMPARE(mesh->rank(mesh->coordinates(rank)), rank);
                const std::vector<int> group = mesh->group(rank, axis);
                QCOMPARE(static_cast<int>(group.size()), mesh->size(axis));
                QVERIFY(std::is_sorted(group.begin(), group.end()));
                QVERIFY(std::count(group.begin(), group.end(), rank) == 1);
                QCOMPARE(mesh->group(group.back(), axis), group);
                seen.insert(group.front() == rank ? group.begin() : group.end(), group.end());
            }
            QCOMPARE(static_cast<int>(seen.size()), mesh->ranks());
            QCOMPARE(static_cast<int>(std::set<int>(seen.begin(), seen.end()).size()), mesh->ranks());
        }
    }

    void tensorIsInnermostThenData() {
        const auto mesh = MeshShape::make({.tensor = 4, .pipeline = 2, .data = 3}, 24);
        QVERIFY(mesh);
        QCOMPARE(mesh->group(0, Axis::Tensor), (std::vector<int>{0, 1, 2, 3}));
        QCOMPARE(mesh->group(1, Axis::Data), (std::vector<int>{1, 5, 9}));
        QCOMPARE(mesh->group(1, Axis::Pipeline), (std::vector<int>{1, 13}));
        QCOMPARE(mesh->coordinates(18), (Coordinates{.tensor = 2, .data = 1, .pipeline = 1}));
    }

    void refusesWhatDoesNotDivide() {
        const auto text = [](int tensor, int data, int pipeline, int ranks) {
            const auto mesh = MeshShape::make({.tensor = tensor, .pipeline = pipeline, .data = data}, ranks);
            return mesh ? std::string("accepted") : mesh.error().text();
        };
        QCOMPARE(text(4, 1, 1, 6), std::string("[parallel]: tensor (4) does not divide the 6 ranks that were launched; launch 4 "
                                               "ranks (mpirun -np 4) or change [parallel]"));
        QCOMPARE(text(2, 1, 2, 6), std::string("[parallel]: pipeline (2) does not divide the 3 tensor groups of the 6 ranks that "
                                               "were launched; launch 4 ranks (mpirun -np 4) or change [parallel]"));
        QCOMPARE(text(1, 2, 1, 3), std::string("[parallel]: 3 ranks were launched; with tensor 1 and pipeline 1 that makes data "
                                               "= 3, not 2; launch 2 ranks (mpirun -np 2) or change [parallel]"));
    }

    void refusesMoreRanksThanHaveNumbers() {
        QVERIFY(MeshShape::make({.tensor = 1, .pipeline = 1, .data = 65'536}, 65'536));
        const auto none = MeshShape::make({.tensor = 2, .pipeline = 32'768, .data = 32'768}, 0); // 2^31: an int has no such number
        QVERIFY(!none);
        QCOMPARE(none.error().text(), std::string("[parallel]: tensor (2) × data (32768) × pipeline (32768) makes 2147483648 ranks; a job "
                                                  "has at most 65536"));
    }

    void oneRankHasThreeGroupsOfOne() {
        const auto world = comm::makeSelfCommunicator();
        const Mesh mesh(*MeshShape::make({}, 1), *world);
        QCOMPARE(mesh.tensor().size() + mesh.data().size() + mesh.pipeline().size(), 3);
    }
};

QTEST_GUILESS_MAIN(MeshTest)
#include "tst_mesh.moc"
