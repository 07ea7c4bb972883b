// SPDX-License-Identifier: Apache-2.0
// fuzz_seeds FOLDER CONFIGS: sound inputs for each fuzzer, in FOLDER/SUBJECT/.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "convert/convert.h"
#include "store/chunk_codec.h"

using namespace telehelm;
using namespace telehelm::ipc;
namespace fs = std::filesystem;

namespace {

class Folder {
public:
    explicit Folder(const fs::path& path) : m_path(path) { fs::create_directories(path); }
    void add(const std::string& bytes) { std::ofstream(m_path / std::to_string(m_count++), std::ios::binary) << bytes; }

private:
    fs::path m_path;
    int m_count = 0;
};

template <typename Value, typename Wire>
std::string wireOf(const Value& value, Wire wire) {
    toWire(value, wire);
    return wire.SerializeAsString();
}

std::vector<Point> somePoints(std::size_t count) {
    std::vector<Point> points;
    for (std::size_t i = 0; i < count; ++i) {
        const auto n = static_cast<std::int64_t>(i);
        points.push_back({n + 1, n * 2048, 1'700'000'000'000'000 + n * 1000, n % 7 == 3 ? std::nan("") : 1.0 / static_cast<double>(n + 1)});
    }
    return points;
}

TelemetryBatch someBatch(std::uint64_t sequence) {
    TelemetryBatch batch;
    batch.key = {"demo", 1};
    batch.sequence = sequence;
    batch.emittedUs = 1'700'000'000'000'000;
    batch.series = {{"train/loss", somePoints(4)}, {"rank/0/step_ms", somePoints(1)}};
    Event event;
    event.key = batch.key;
    event.text = "Checkpoint saved.";
    event.facts = {{"path", "/tmp/x"}, {"bytes", "12"}};
    batch.events = {event};
    batch.outcomes = {{"0d9b…", CommandState::Applied, 12, "done"}};
    return batch;
}

SeriesQuery someQuery(std::uint32_t maxBuckets, double smoothing, Axis axis) {
    SeriesQuery query;
    query.key = {"r", 0};
    query.names = {"train/loss", "layer/*/norm"};
    query.axis = axis;
    query.from = 10;
    query.to = 4000;
    query.maxBuckets = maxBuckets;
    query.smoothing = smoothing;
    query.includeSuperseded = smoothing > 0;
    return query;
}

Command someCommand() {
    Command command;
    command.id = "6f1c";
    command.key = {"demo", 1};
    command.kind = CommandKind::Restart;
    command.reason = "the loss is rising";
    command.mixture = {{"WebText", 0.5}, {"Code", 0.5}};
    command.restart = RestartOptions{};
    command.restart->lrScale = 0.5;
    return command;
}

void messages(const fs::path& root) {
    Folder folder(root / "messages");
    News news;
    news.epoch = "e";
    news.news = 1;
    news.batch = someBatch(3);
    SeriesSegment segment;
    segment.key = {"r", 1};
    segment.name = "train/loss";
    for (const Point& point : somePoints(9))
        segment.buckets.push_back(store::bucketOf(point));
    const std::string all[] = {wireOf(someBatch(1), v1::TelemetryBatch()),
                               wireOf(news, v1::News()),
                               wireOf(TrainerHello{{"demo", 1}, 12, 2, "host", "mpirun", 4}, v1::TrainerHello()),
                               wireOf(someCommand(), v1::Command()),
                               wireOf(someQuery(100, 0.9, Axis::Step), v1::SeriesQuery()),
                               wireOf(segment, v1::SeriesSegment())};
    for (std::size_t i = 0; i < std::size(all); ++i)
        folder.add(static_cast<char>(i) + all[i]);
    folder.add("\x0b" "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xff");
}

void chunks(const fs::path& root) {
    Folder folder(root / "chunks");
    const auto points = somePoints(200);
    std::vector<Bucket> buckets;
    for (std::size_t i = 0; i + 16 <= points.size(); i += 16)
        buckets.push_back(store::summarise(std::span(points).subspan(i, 16)));
    store::LogWriter log;
    log.add(3, 0, points);
    // A FuzzedDataProvider takes numbers from the end: way and level stand there.
    for (const std::string& blob : {store::encodePoints(points), store::encodeBuckets(buckets, 1), log.finish()})
        folder.add(blob + '\1' + '\0');
    std::string plain(960, '\0');
    for (std::size_t i = 0; i < plain.size(); ++i)
        plain[i] = static_cast<char>(i * 7);
    folder.add(plain + '\0' + '\1');
    folder.add(plain + '\1' + '\0' + '\1' + '\1' + '\2');
    folder.add(plain + '\1' + '\1' + '\1' + '\1' + '\2');
}

void queries(const fs::path& root) {
    Folder folder(root / "queries");
    for (const Axis axis : {Axis::Step, Axis::Tokens, Axis::WallTime})
        for (const std::uint32_t buckets : {0u, 1u, 20u, 2000u})
            folder.add(wireOf(someQuery(buckets, buckets == 20 ? 0.9 : 0, axis), v1::SeriesQuery()) + '\1');
    for (const char* glob : {"*", "train/*", "layer/?/norm", "[a-l]*", ""})
        folder.add(std::string(glob) + '\0');
}

void links(const fs::path& root) {
    Folder link(root / "link"), live(root / "live"), spool(root / "spool");
    link.add(wireOf(TrainerHello{{"demo", 1}, 12, 2, "host", "mpirun", 1}, v1::TrainerHello()));
    link.add(wireOf(someBatch(1), v1::TelemetryBatch()));
    News news;
    news.batch = someBatch(1);
    live.add(wireOf(news, v1::News()));
    spool.add(wireOf(someBatch(1), v1::TelemetryBatch()) + '\x08' + '\1');
    spool.add(wireOf(someBatch(1), v1::TelemetryBatch()) + '\x08' + '\2');
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "fuzz_seeds FOLDER CONFIGS\n";
        return 2;
    }
    const fs::path root = argv[1];
    messages(root);
    chunks(root);
    queries(root);
    links(root);
    Folder config(root / "config");
    for (const auto& entry : fs::directory_iterator(argv[2]))
        if (entry.path().extension() == ".toml") {
            std::ifstream in(entry.path(), std::ios::binary);
            config.add(std::string((std::istreambuf_iterator<char>(in)), {}));
        }
    return 0;
}
