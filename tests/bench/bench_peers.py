# SPDX-License-Identifier: Apache-2.0
"""What other programs need for the same points; started by bench_peers, in the Python that ./dev bench peers prepared.

bench_peers.py write-tfevents POINTS SERIES FOLDER   points (float64, series by series) as one event file, step by step
bench_peers.py open-accumulator FOLDER SERIES TAG    TensorBoard's Python loader, nothing left out
bench_peers.py open-data-server FOLDER SERIES TAG    TensorBoard's data server, nothing left out
bench_peers.py track-aim POINTS SERIES FOLDER        Aim's Run.track, value by value

One JSON object on the standard output. Times are from the call on, imports excluded; memory is the process's peak.
"""
import importlib.metadata
import json
import os
import sys
import time


def peak_mb(pid="self"):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def load(file, series):
    import numpy

    return numpy.fromfile(file).reshape(series, -1)


def write_tfevents(file, series, folder):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    points = load(file, int(series))
    writer = EventFileWriter(folder)
    for step in range(points.shape[1]):
        for index in range(points.shape[0]):
            value = Summary.Value(tag=f"layer/{index}/norm", simple_value=points[index, step])
            writer.add_event(Event(wall_time=1.7e9 + step * 0.15, step=step, summary=Summary(value=[value])))
    writer.close()
    return {"bytes": sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))}


def open_accumulator(folder, series, tag):
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    before = peak_mb()
    start = time.perf_counter()
    events = EventAccumulator(folder, size_guidance={SCALARS: 0})
    events.Reload()
    count = len(events.Scalars(tag) if tag in events.Tags()["scalars"] else events.Tensors(tag))
    return {"ms": (time.perf_counter() - start) * 1e3, "points": count, "peak_mb": peak_mb(), "loaded_mb": peak_mb() - before}


def children():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if int(stat.read().rsplit(")", 1)[1].split()[1]) == os.getpid():
                    found.append(pid)
        except OSError:
            pass  # it has ended meanwhile
    return found


def open_data_server(folder, series, tag):
    from tensorboard import context
    from tensorboard.data import provider, server_ingester
    from tensorboard.util import grpc_util

    binary = server_ingester.get_server_binary()
    most = 1 << 31
    start = time.perf_counter()
    ingester = server_ingester.SubprocessServerDataIngester(
        server_binary=binary, logdir=folder, reload_interval=1, channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
        samples_per_plugin={"scalars": 0})
    ingester.start()
    wanted = int(os.environ["TELEHELM_PEERS_POINTS"])
    selection = provider.RunTagFilter(tags=[tag])
    count = 0
    while count < wanted and time.perf_counter() - start < 300:
        answer = ingester.data_provider.read_scalars(context.RequestContext(), experiment_id="", plugin_name="scalars",
                                                     downsample=most - 1, run_tag_filter=selection)
        count = max((len(curve) for tags in answer.values() for curve in tags.values()), default=0)
        if count < wanted:
            time.sleep(0.005)
    took = (time.perf_counter() - start) * 1e3
    server = max((peak_mb(pid) for pid in children()), default=0)
    return {"ms": took, "points": count, "peak_mb": server, "loaded_mb": server}


def track_aim(file, series, folder):
    from aim import Run

    points = load(file, int(series))
    names = [f"layer/{index}/norm" for index in range(points.shape[0])]
    run = Run(repo=folder, system_tracking_interval=None, log_system_params=False, capture_terminal_logs=False)
    start = time.perf_counter()
    for step in range(points.shape[1]):
        for index, name in enumerate(names):
            run.track(points[index, step], name=name, step=step)
    run.close()
    took = time.perf_counter() - start
    return {"ms": took * 1e3, "points": points.size, "peak_mb": peak_mb()}


def main():
    tasks = {"write-tfevents": (write_tfevents, "tensorboard"), "open-accumulator": (open_accumulator, "tensorboard"),
             "open-data-server": (open_data_server, "tensorboard-data-server"), "track-aim": (track_aim, "aim")}
    if len(sys.argv) != 5 or sys.argv[1] not in tasks:
        sys.exit(__doc__)
    task, package = tasks[sys.argv[1]]
    answer = task(*sys.argv[2:])
    answer["version"] = f"{package} {importlib.metadata.version(package)}"
    print(json.dumps(answer), flush=True)
    os._exit(0)  # background threads of the measured programs would go on


main()
