// SPDX-License-Identifier: Apache-2.0
// Checkpoints outlive their mesh: written with one, loaded with another, equal to the bit; only what is needed is read; damage is
// named by tensor, file and offset.
#include <QtTest>

#include <fstream>
#include <functional>
#include <numeric>

#include <nlohmann/json.hpp>

#include "train/buckets.h"
#include "train/checkpoint_loader.h"
#include "train/checkpoint_store.h"
#include "train/checkpoint_writer.h"
#include "train/file_io.h"

using namespace telehelm;
using train::StoredTensor;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kC = 16, kF = 24, kV = 40;
constexpr int kLayers = 9;
constexpr std::int64_t kPiece = 256; // bytes

struct MeshSize {
    int tensor, pipeline, data;
    std::int64_t bucketBytes = 1 << 28; // of the distributed optimizer; by default one bucket, as checkpoints had it before
    int chunks = 1;
    int ranks() const { return tensor * pipeline * data; }
    std::string text() const {
        return "tp" + std::to_string(tensor) + "pp" + std::to_string(pipeline) + "dp" + std::to_string(data) +
               (chunks > 1 ? "c" + std::to_string(chunks) : "") + (bucketBytes < 1 << 28 ? "b" + std::to_string(bucketBytes) : "");
    }
};
/// All of up to 8 ranks that the trainer's tests run, some that they do not, buckets, chunks.
const std::vector<MeshSize> kMeshes = {{1, 1, 1}, {2, 1, 1}, {4, 1, 1}, {1, 2, 1}, {2, 2, 1}, {4, 2, 1}, {1, 4, 1}, {2, 4, 1},
                                       {1, 1, 2}, {2, 1, 2}, {4, 1, 2}, {1, 2, 2}, {2, 2, 2}, {1, 4, 2}, {1, 1, 4}, {2, 1, 4},
                                       {1, 2, 4}, {1, 3, 2}, {1, 1, 3}, {2, 3, 3},
                                       {1, 1, 3, 512}, {2, 2, 2, 64}, {1, 2, 2, 1500}, {2, 1, 3, 4096},
                                       {2, 1, 2, 1 << 28, 3}, {1, 2, 2, 3000, 4}, {2, 4, 1, 1 << 28, 2}, {1, 4, 2, 512, 2}};

/// Chunk by chunk.
std::vector<int> layersOf(const MeshSize& mesh, int stage) {
    const int parts = mesh.pipeline * mesh.chunks;
    std::vector<int> layers;
    for (int part = stage; part < parts; part += mesh.pipeline) {
        for (int layer = kLayers * part / parts; layer < kLayers * (part + 1) / parts; ++layer) {
            layers.push_back(layer);
        }
    }
    return layers;
}

/// How the model's weights are cut: norms not at all, qkv and gate_up by block, embedding and head by vocabulary.
std::vector<StoredTensor> tensorsOf(const MeshSize& mesh, int tensorRank, int stage) {
    std::vector<StoredTensor> tensors;
    std::int64_t next = 0;
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape, int dim, int blocks = 1) {
        const bool cut = dim >= 0 && mesh.tensor > 1;
        const train::TensorSplit split =
            cut ? train::TensorSplit{.dim = dim, .blocks = blocks, .parts = mesh.tensor, .part = tensorRank}
                : train::TensorSplit{};
        const std::int64_t size = train::ShardMap::make(shape, split)->size();
        tensors.push_back({.name = name,
                           .shape = std::move(shape),
                           .split = split,
                           .offset = next,
                           .size = size,
                           .writes = cut || tensorRank == 0});
        next += size;
    };
    if (stage == 0)
        add("embedding", {kV, kC}, 0);
    for (const int layer : layersOf(mesh, stage)) {
        const std::string prefix = "layers." + std::to_string(layer) + ".";
        add(prefix + "attention.norm", {kC}, -1);
        add(prefix + "attention.qkv", {3 * kC, kC}, 0, 3);
        add(prefix + "attention.out", {kC, kC}, 1);
        add(prefix + "ffn.gate_up", {2 * kF, kC}, 0, 2);
        add(prefix + "ffn.down", {kC, kF}, 1);
    }
    if (stage == mesh.pipeline - 1) {
        add("norm", {kC}, -1);
        add("head", {kV, kC}, 0);
    }
    return tensors;
}

/// A value that tells tensor, moment and place apart.
float valueAt(const std::string& name, int kind, std::int64_t global) {
    const std::uint64_t mixed = (std::hash<std::string>()(name) + static_cast<std::uint64_t>(kind)) * 0x9E3779B97F4A7C15U +
                                static_cast<std::uint64_t>(global) * 0xBF58476D1CE4E5B9U;
    return static_cast<float>(mixed >> 40) - 1.0e7F;
}

/// One rank's state, what it should be where `fill`, else nothing.
struct RankState {
    std::vector<StoredTensor> tensors;
    std::vector<train::Stretch> stretches;
    std::array<std::vector<float>, 3> values; // the stretches behind each other

    RankState(const MeshSize& mesh, int rank, bool fill) {
        const int tensorRank = rank % mesh.tensor, dataRank = rank / mesh.tensor % mesh.data;
        tensors = tensorsOf(mesh, tensorRank, rank / mesh.tensor / mesh.data);
        const std::int64_t size = (tensors.back().offset + tensors.back().size + 63) / 64 * 64;
        for (const train::Stretch& bucket : train::cutBuckets(size, mesh.bucketBytes, mesh.data)) {
            const std::int64_t share = bucket.size() / mesh.data, from = bucket.from + share * dataRank;
            stretches.push_back({from, from + share}); // padding included, as the engine has it
        }
        for (int kind = 0; kind < 3; ++kind) {
            for (const train::Stretch& stretch : stretches) {
                const std::vector<float> part = valuesOf(stretch, kind, fill);
                values[static_cast<std::size_t>(kind)].insert(values[static_cast<std::size_t>(kind)].end(), part.begin(), part.end());
            }
        }
    }
    std::vector<float> valuesOf(const train::Stretch& stretch, int kind, bool fill) const {
        std::vector<float> out(static_cast<std::size_t>(stretch.size()), 0.0F);
        for (const StoredTensor& tensor : tensors) {
            const auto map = train::ShardMap::make(tensor.shape, tensor.split);
            const std::int64_t first = std::max(stretch.from, tensor.offset), last = std::min(stretch.to, tensor.offset + tensor.size);
            for (const train::Run& run : map->runs(first - tensor.offset, fill ? last - tensor.offset : 0)) {
                for (std::int64_t i = 0; i < run.length; ++i) {
                    out[static_cast<std::size_t>(tensor.offset + run.local + i - stretch.from)] =
                        valueAt(tensor.name, kind, run.global + i);
                }
            }
        }
        return out;
    }
    std::vector<train::Shard> shards() {
        std::vector<train::Shard> shards;
        std::size_t at = 0;
        for (const train::Stretch& stretch : stretches) {
            const auto part = [&](int kind) {
                return std::span(values[static_cast<std::size_t>(kind)]).subspan(at, static_cast<std::size_t>(stretch.size()));
            };
            shards.push_back({.from = stretch.from, .to = stretch.to, .parameters = part(0), .firstMoment = part(1), .secondMoment = part(2)});
            at += static_cast<std::size_t>(stretch.size());
        }
        return shards;
    }
};

train::Manifest blankManifest(const MeshSize& mesh) {
    train::Manifest manifest;
    manifest.key = {.run = "reshard", .attempt = 1};
    manifest.step = 7;
    manifest.configXxh3 = "0";
    manifest.tensor = mesh.tensor;
    manifest.pipeline = mesh.pipeline;
    manifest.data = mesh.data;
    return manifest;
}

/// All ranks' files with small pieces, and the manifest.
fs::path write(const fs::path& parent, const MeshSize& mesh) {
    const fs::path folder = parent / mesh.text();
    fs::create_directories(folder);
    train::Manifest manifest = blankManifest(mesh);
    for (int rank = 0; rank < mesh.ranks(); ++rank) {
        RankState state(mesh, rank, true);
        auto file = train::ShardFileWriter::create(folder, "rank-" + std::to_string(rank) + ".bin", kPiece);
        auto part = train::writeTensors(*file, state.tensors, state.stretches, {state.values[0], state.values[1], state.values[2]})
                        .and_then([&] { return file->finish(); });
        // Through text, as between two ranks.
        train::mergePart(manifest, *train::parseRankPart(train::rankPartText(*part)));
    }
    if (!train::writeWhole(folder / "manifest.json", train::manifestText(manifest))) {
        throw std::runtime_error("cannot write " + folder.string());
    }
    return folder;
}

std::string loadError(const fs::path& folder, const MeshSize& mesh, int rank = 0) {
    const auto manifest = train::readManifest(folder);
    if (!manifest) {
        return manifest.error().text();
    }
    RankState state(mesh, rank, false);
    const auto loaded = train::loadShards(folder, *manifest, state.tensors, state.shards());
    return loaded ? "" : loaded.error().text();
}

void editManifest(const fs::path& folder, const std::function<void(nlohmann::ordered_json&)>& edit) {
    auto json = nlohmann::ordered_json::parse(*train::readWhole(folder / "manifest.json"));
    edit(json);
    std::ofstream(folder / "manifest.json") << json.dump();
}

} // namespace

class ReshardTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    fs::path folder(const std::string& name = "") const { return fs::path(m_dir.path().toStdString()) / name; }

private slots:
    void initTestCase() {
        for (const MeshSize& mesh : kMeshes) {
            const auto sound = train::verifyCheckpoint(write(folder(), mesh));
            QVERIFY2(sound, sound ? "" : sound.error().text().c_str());
        }
    }

    void anyMeshLoadsAnyOther() {
        for (const MeshSize& from : kMeshes) {
            const auto manifest = train::readManifest(folder(from.text()));
            for (const MeshSize& to : kMeshes) {
                for (int rank = 0; rank < to.ranks(); ++rank) {
                    RankState loaded(to, rank, false);
                    const auto count = train::loadShards(folder(from.text()), *manifest, loaded.tensors, loaded.shards());
                    QVERIFY2(count, count ? "" : count.error().text().c_str());
                    QVERIFY2(loaded.values == RankState(to, rank, true).values, (from.text() + " -> " + to.text()).c_str());
                }
            }
        }
    }

    void replicatedTensorsAreWrittenOnce() {
        const std::int64_t alone = train::readManifest(folder("tp1pp1dp1"))->bytes;
        for (const MeshSize& mesh : kMeshes) {
            QCOMPARE(train::readManifest(folder(mesh.text()))->bytes, alone);
        }
    }

    /// A shard has two ends where a piece is read for a few of its bytes; with the same tensor axis nothing else is read in vain.
    void onlyWhatIsNeededIsRead() {
        const MeshSize to{2, 3, 3};
        for (const MeshSize& from : {MeshSize{2, 1, 1}, MeshSize{2, 2, 2}, MeshSize{2, 3, 3}}) {
            const auto manifest = train::readManifest(folder(from.text()));
            std::size_t mostShards = 0;
            for (const train::TensorEntry& tensor : manifest->tensors) {
                mostShards = std::max(mostShards, tensor.shards.size());
            }
            for (int rank = 0; rank < 18; ++rank) {
                RankState state(to, rank, false);
                const auto count = train::loadShards(folder(from.text()), *manifest, state.tensors, state.shards());
                QVERIFY(count);
                const auto ends = static_cast<std::int64_t>(3 * state.tensors.size() * mostShards * 2);
                QVERIFY(count->read >= count->needed);
                QVERIFY2(count->read <= count->needed + ends * kPiece,
                         qPrintable(QString("%1 of %2 bytes").arg(count->read).arg(count->needed)));
                QVERIFY(count->read < manifest->bytes / 4); // of 6 parts and 3 data ranks
            }
        }
        // The own file again: each rank reads exactly its own.
        const auto manifest = train::readManifest(folder("tp2pp3dp3"));
        RankState state(to, 2, false); // tensor rank 0 writes all that it has
        const auto count = train::loadShards(folder("tp2pp3dp3"), *manifest, state.tensors, state.shards());
        QCOMPARE(count->read, count->needed);
        QCOMPARE(count->read, static_cast<std::int64_t>(fs::file_size(folder("tp2pp3dp3") / "rank-2.bin")));
    }

    void damageNamesTensorFileAndOffset() {
        const fs::path damaged = folder("damaged");
        fs::copy(folder("tp2pp1dp2"), damaged);
        const auto manifest = train::readManifest(damaged);
        const auto tensor = std::ranges::find(manifest->tensors, "adam.v/layers.1.ffn.down", &train::TensorEntry::name);
        const train::TensorShard& shard = tensor->shards.front();
        std::fstream file(damaged / shard.file, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(shard.offset + kPiece + 3);
        const char byte = static_cast<char>(file.get() ^ 1);
        file.seekp(shard.offset + kPiece + 3);
        file.put(byte);
        file.close();
        const std::string says = loadError(damaged, {1, 1, 1});
        const std::string place = "adam.v/layers.1.ffn.down: " + shard.file + ", " + std::to_string(kPiece) +
                                  " bytes at offset " + std::to_string(shard.offset + kPiece) + ": the checksum is ";
        QVERIFY2(says.find(place) != std::string::npos, says.c_str());
        fs::resize_file(damaged / shard.file, static_cast<std::uintmax_t>(shard.offset + kPiece + 8));
        const std::string cut = loadError(damaged, {1, 1, 1});
        QVERIFY2(cut.find("the file is cut off after 8") != std::string::npos, cut.c_str());
        fs::remove(damaged / shard.file);
        const std::string gone = loadError(damaged, {1, 1, 1});
        QVERIFY2(gone.find(shard.file + " cannot be opened") != std::string::npos, gone.c_str());
    }

    /// Damage that a mesh does not need does not stop it.
    void whatIsNotReadIsNotMissed() {
        const fs::path damaged = folder("unread");
        fs::copy(folder("tp1pp2dp1"), damaged);
        fs::remove(damaged / "rank-1.bin");
        QCOMPARE(loadError(damaged, {2, 3, 1}, 0), std::string()); // the first stage
        QVERIFY(!loadError(damaged, {2, 3, 1}, 5).empty());        // the last one
    }

    void aManifestThatLiesIsRefused_data() {
        using Edit = std::function<void(nlohmann::ordered_json&)>;
        QTest::addColumn<Edit>("edit");
        QTest::addColumn<QString>("says");
        const auto row = [](const char* name, const Edit& edit, const char* says) {
            QTest::newRow(name) << edit << QString(says);
        };
        using Json = nlohmann::ordered_json;
        static const auto shards = [](Json& json) -> Json& { return json["tensors"][0]["shards"]; };
        row(
            "missing shard", [](Json& json) { shards(json).erase(1); }, "embedding is not complete in the manifest");
        row(
            "twice", [](Json& json) { shards(json).push_back(shards(json)[1]); }, "embedding is there twice in the manifest");
        row(
            "no such tensor", [](Json& json) { json["tensors"].erase(0); }, "embedding is missing in the checkpoint but 40 × 16");
        row(
            "shape",
            [](Json& json) {
                json["tensors"][0]["shape"] = {44, 16};
            },
            "embedding is 44 × 16 in the checkpoint but 40 × 16");
        row(
            "split", [](Json& json) { shards(json)[0]["split"]["parts"] = 7; },
            "embedding in rank-0.bin: 1 block of 7 parts do not divide");
        row(
            "dimension", [](Json& json) { shards(json)[0]["split"]["dim"] = 2; }, "has no dimension 2");
        row(
            "beyond", [](Json& json) { shards(json)[0]["begin"] = 4; }, "ends at element 324 of a part of 320");
        row(
            "negative", [](Json& json) { shards(json)[0]["begin"] = -4; }, "embedding has a shard that cannot be");
        row(
            "checksums", [](Json& json) { shards(json)[0]["xxh3"].erase(0); }, "embedding has a shard that cannot be");
        row(
            "no checksum", [](Json& json) { shards(json)[0]["xxh3"][0] = "nonsense"; }, "“nonsense” is no checksum");
        row(
            "another folder", [](Json& json) { shards(json)[0]["file"] = "../x.bin"; }, "embedding has a shard that cannot be");
        row(
            "from the future", [](Json& json) { json["format"] = 3; }, "is of format 3; this program reads 1 to 2");
    }
    void aManifestThatLiesIsRefused() {
        QFETCH(std::function<void(nlohmann::ordered_json&)>, edit);
        QFETCH(QString, says);
        const fs::path lies = folder("lies");
        fs::remove_all(lies);
        fs::copy(folder("tp2pp1dp1"), lies);
        editManifest(lies, edit);
        const std::string error = loadError(lies, {1, 1, 1});
        QVERIFY2(error.find(says.toStdString()) != std::string::npos, error.c_str());
    }

    void formatOneStillLoads() {
        const fs::path old = folder("format1");
        fs::copy(folder("tp1pp1dp3"), old);
        editManifest(old, [&](nlohmann::ordered_json& json) {
            json["format"] = 1;
            for (auto& tensor : json["tensors"]) {
                for (auto& shard : tensor["shards"]) {
                    std::string bytes = *train::readWhole(old / shard["file"].get<std::string>());
                    bytes = bytes.substr(shard["offset"], shard["bytes"]);
                    shard.erase("piece_bytes");
                    shard["xxh3"] = train::hexHash(train::xxh3(std::as_bytes(std::span(bytes))));
                }
            }
        });
        const auto manifest = train::readManifest(old);
        QVERIFY2(manifest, manifest ? "" : manifest.error().text().c_str());
        RankState loaded({2, 1, 2}, 3, false);
        QVERIFY(train::loadShards(old, *manifest, loaded.tensors, loaded.shards()));
        QVERIFY(loaded.values == RankState({2, 1, 2}, 3, true).values);
    }

    /// The engine's own layout says the same of every element as the shard map.
    void theModelsLayoutAgrees() {
        config::RunConfig config;
        config.model.layers = kLayers;
        config.model.hiddenSize = 16;
        config.model.attentionHeads = 4;
        config.model.ffnHiddenSize = 24;
        config.model.vocabSize = 40;
        config.model.contextLength = 8;
        for (const MeshSize& mesh : kMeshes) {
            config.parallel.tensor = mesh.tensor;
            config.parallel.pipeline = mesh.pipeline;
            config.parallel.chunks = mesh.chunks;
            std::map<std::string, std::vector<int>> written;
            for (int rank = 0; rank < mesh.tensor * mesh.pipeline; ++rank) {
                const int tensorRank = rank % mesh.tensor;
                const auto layout =
                    model::parameterLayout(config.model, model::parallelShape(config, tensorRank, rank / mesh.tensor));
                const auto stored = train::storedTensors(layout, tensorRank);
                for (std::size_t i = 0; i < layout.size(); ++i) {
                    auto& seen = written[layout[i].name];
                    seen.resize(static_cast<std::size_t>(std::accumulate(
                        layout[i].globalShape.begin(), layout[i].globalShape.end(), std::int64_t{1}, std::multiplies<>())));
                    const auto map = train::ShardMap::make(stored[i].shape, stored[i].split);
                    QVERIFY(map);
                    QCOMPARE(map->size(), layout[i].size);
                    QVERIFY(map->localShape() == layout[i].shape);
                    for (const train::Run& run : map->runs(0, map->size())) {
                        for (std::int64_t k = 0; k < run.length; ++k) {
                            QCOMPARE(run.global + k, layout[i].globalIndex(run.local + k));
                            seen[static_cast<std::size_t>(run.global + k)] += stored[i].writes ? 1 : 0;
                        }
                    }
                }
            }
            QCOMPARE(written.size(), model::parameterLayout(config.model).size());
            for (const auto& [name, seen] : written) {
                QVERIFY2(std::ranges::all_of(seen, [](int count) { return count == 1; }), name.c_str());
            }
        }
    }

    /// The real writer, a thread for each of four ranks.
    void theWriterWritesAnyMesh() {
        const MeshSize mesh{2, 1, 2, 256};
        std::vector<std::unique_ptr<train::CheckpointWriter>> writers;
        std::vector<RankState> states;
        for (int rank = 0; rank < 4; ++rank) {
            states.emplace_back(mesh, rank, true);
            writers.push_back(std::make_unique<train::CheckpointWriter>(
                train::CheckpointWriter::Place{
                    .folder = folder("written"), .key = {"r", 1}, .rank = rank, .ranks = 4, .keep = {}},
                states.back().tensors));
            writers.back()->begin(states.back().shards(), blankManifest(mesh));
        }
        for (auto& writer : writers) {
            writer->wait();
            QCOMPARE(writer->take()->failure, std::string());
        }
        const fs::path checkpoint = folder("written") / train::checkpointName(1, 7);
        const auto manifest = train::verifyCheckpoint(checkpoint);
        QVERIFY(manifest);
        RankState alone({1, 1, 1}, 0, false);
        QVERIFY(train::loadShards(checkpoint, *manifest, alone.tensors, alone.shards()));
        QVERIFY(alone.values == RankState({1, 1, 1}, 0, true).values);
    }
};

QTEST_GUILESS_MAIN(ReshardTest)
#include "tst_reshard.moc"
