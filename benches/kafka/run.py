#!/usr/bin/env python3
"""From a real Kafka to both sinks: CPU seconds per million events, beside the bare consumer and Apache Flink with the same rollups.

    benches/kafka/run.py --tidemark target/release/tidemark --examples target/release/examples [--events 2000000] [--flink FOLDER]

Programs with the feature `kafka`; README.md here says where Flink comes from. Needs Java 17, Maven and Python with venv.
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SERVICES = HERE.parents[1] / "tests/services"
CACHE = pathlib.Path.home() / ".cache/tidemark"
KAFKA, REGISTRY, ROUTER, WORKER = 19592, 19570, 19580, 19581
OPENS = ["java.base/java." + package for package in ("lang", "net", "io", "nio", "text", "time", "util", "util.concurrent")]
started = []


def start(name, *command, ready):
    """Starts a process; waits until its output matches `ready`."""
    log = work / f"{name}.log"
    process = subprocess.Popen([str(part) for part in command], cwd=work, stdout=log.open("w"), stderr=subprocess.STDOUT)
    started.append(process)
    deadline = time.time() + 120
    while not (found := re.search(ready, log.read_text())):
        if process.poll() is not None or time.time() > deadline:
            sys.exit(f"{name} does not run: see {log}")
        time.sleep(0.1)
    return process, found


def stop(process):
    process.terminate()
    process.wait(60)


def cpu(pid):
    """Seconds of CPU that a process has used, all threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(*command, **more):
    """Runs a program to its end: how it ended, and the seconds of CPU that it used."""
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before = spent()
    done = subprocess.run([str(part) for part in command], text=True, **more)
    return done, spent() - before


def peak(pid):
    """The most memory it has had, in MB."""
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) // 1024


def size(folder, files="*"):
    return sum(file.stat().st_size for file in folder.rglob(files) if file.is_file())


def ask(url, body=None):
    with urllib.request.urlopen(url, body, timeout=60) as answer:
        return answer.read().decode()


def say(what, seconds, others=""):
    print(f"{what:44} {seconds * 1e6 / options.events:8.2f} CPU-s per million {options.events / seconds:10,.0f} per CPU-s  {others}", flush=True)


def settings(topic, partitions, registry=False, clickhouse=None):
    text = f'[kafka]\nbrokers = "127.0.0.1:{KAFKA}"\ntopic = "{topic}"\ngroup = "{topic}.workers"\n'
    text += f'dead_letters = "{topic}.dead"\npartitions = {partitions}\nreplication = 1\n'
    if registry:
        text += f'[kafka.registry]\nurl = "http://127.0.0.1:{REGISTRY}/apis/ccompat/v7"\n'
    if clickhouse:
        text += f'[clickhouse]\nurl = "{clickhouse}"\ndatabase = "{topic}"\n'
    path = work / f"{topic}.toml"
    path.write_text(text)
    return path


def broker():
    return int((work / "kafka/broker-1/pid").read_text())


def gauge(port, name):
    """The sum of a metric over its labels."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", ask(f"http://127.0.0.1:{port}/metrics"), re.M))


def fill(topic, partitions, registry=False):
    """A router with the events in its spool sends them: the CPU time that it takes, and the broker's."""
    spool, before = work / "spool", cpu(broker())
    shutil.rmtree(spool, ignore_errors=True)
    shutil.copytree(work / "made/journal", spool / "journal")
    router, _ = start(f"fill-{topic}", options.tidemark, "router", "--config", settings(topic, partitions, registry),
                      "--data-dir", spool, "--listen", f"127.0.0.1:{ROUTER}", ready="is up")
    while gauge(ROUTER, "tidemark_forwarded_events_total") < options.events:
        time.sleep(0.2)
    seconds = cpu(router.pid)
    stop(router)
    return seconds, cpu(broker()) - before


def held(url, database):
    """Events in ClickHouse; none before the first worker has made the tables."""
    try:
        return int(ask(f"{url}/?database={database}", b"SELECT count(*) FROM usage_events"))
    except urllib.error.HTTPError:
        return 0


def both_sinks(topic, workers, house, url):
    """Workers from an empty lake and an empty ClickHouse until both hold everything."""
    lake = work / f"lake-{topic}"
    config = settings(topic, workers, clickhouse=url)
    before = cpu(house.pid)
    running = [start(f"{topic}-{n}", options.tidemark, "rollup", "--config", config, "--data-dir", lake,
                     "--listen", f"127.0.0.1:{WORKER + n}", ready="is up")[0] for n in range(workers)]
    while held(url, topic) < options.events:
        time.sleep(0.5)
    seconds = [cpu(worker.pid) for worker in running]
    most = max(peak(worker.pid) for worker in running)
    inside = cpu(house.pid) - before
    for worker in running:
        stop(worker)
    held_bytes = f"SELECT sum(bytes_on_disk) FROM system.parts WHERE database = '{topic}' AND active".encode()
    stored = [size(lake / "lake"), int(ask(f"{url}/?database={topic}", held_bytes))]
    tables = ask(f"{url}/?database={topic}", f"SELECT name FROM system.tables WHERE database = '{topic}' AND engine LIKE '%MergeTree'".encode())
    for table in tables.split():
        ask(f"{url}/?database={topic}", f"OPTIMIZE TABLE {table} FINAL".encode())
    stored.append(int(ask(f"{url}/?database={topic}", held_bytes)))
    proof = subprocess.run([options.tidemark, "lake", "verify", "--config", config, "--data-dir", lake], capture_output=True, text=True)
    assert proof.returncode == 0, proof.stdout + proof.stderr
    shutil.rmtree(lake)
    return sum(seconds), inside, most, stored


def flink(topic, parallelism):
    """The job of flink.sql in one process with its own small cluster."""
    jars = [*options.flink.rglob("lib/*.jar"), *options.flink.rglob("opt/*.jar"), *options.flink.glob("*.jar")]
    job = (HERE / "flink.sql").read_text()
    values = {"topic": topic, "brokers": f"127.0.0.1:{KAFKA}", "registry": f"http://127.0.0.1:{REGISTRY}/apis/ccompat/v7", "parallelism": parallelism}
    for name, value in values.items():
        job = job.replace("{" + name + "}", str(value))
    conf = work / "flink"
    conf.mkdir(exist_ok=True)
    (conf / "config.yaml").write_text("taskmanager.memory.managed.size: 256m\ntaskmanager.memory.network.min: 64m\n"
                                      f"taskmanager.numberOfTaskSlots: {parallelism}\n")
    (conf / "job.sql").write_text(job)
    opens = [part for package in OPENS for part in ("--add-opens", f"{package}=ALL-UNNAMED")]
    done, seconds = run(
        "java", "-Xmx3g", *opens, "-cp", ":".join(map(str, jars)), "org.apache.flink.table.client.SqlClient", "embedded", "-f", conf / "job.sql",
        cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "FLINK_CONF_DIR": str(conf)})
    # Its client ends well whatever becomes of a statement.
    if done.returncode != 0 or "[ERROR]" in done.stdout or "Complete execution" not in done.stdout:
        sys.exit(f"Flink failed: {done.stdout[-3000:]}")
    return seconds


def main():
    if options.events:
        subprocess.run([options.examples / "ingest", work / "made", str(options.events)], check=True, stdout=subprocess.DEVNULL)
        (work / "made/events.jsonl").unlink()
        (work / "made/events.avro").unlink()
    start("kafka", SERVICES / "kafka/run", work / "kafka", "--port", KAFKA, ready="ready: ")
    for partitions in (1, 2, 4):
        seconds, inside = fill(f"usage{partitions}", partitions)
        say(f"producer: spool to {partitions} partitions, acks=all, zstd", seconds, f"and the broker itself {inside * 1e6 / options.events:.2f}")
    bench = {}
    for kind in ("bare", "decode") * 3:
        done, seconds = run(options.examples / "topic_bench", f"127.0.0.1:{KAFKA}", "usage4", 4, kind, check=True, stdout=subprocess.PIPE)
        assert int(done.stdout) == options.events, done.stdout
        bench.setdefault(kind, []).append(seconds)
    middle = lambda kind: sorted(bench[kind])[1]
    say("bare rdkafka consumer (median of 3)", middle("bare"))
    say("reader and Arrow columns (median of 3)", middle("decode"), f"{middle('bare') / middle('decode'):.2f} of the ceiling")

    venv = CACHE / "clickhouse"
    if not (venv / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", SERVICES / "clickhouse/requirements.txt"], check=True)
    house, found = start("clickhouse", venv / "bin/python", SERVICES / "clickhouse/serve.py", work / "clickhouse", "--port", 0, ready=r"ready: (http://\S+)")
    whole = []
    for workers in (1, 2, 4):
        seconds, inside, most, stored = both_sinks(f"usage{workers}", workers, house, found.group(1))
        whole.append(seconds)
        say(f"{workers} workers: lake and rows to ClickHouse", seconds, f"and ClickHouse itself {inside * 1e6 / options.events:.2f}; at most {most} MB a worker")
    stop(house)
    topic = sum(size(part, "*.log") for part in (work / "kafka/broker-1/data").glob("usage4-*"))
    each = lambda bytes: f"{bytes / options.events:.0f}"
    print(f"bytes an event: Kafka {each(topic)}, lake {each(stored[0])} and ClickHouse {each(stored[1])} before their compaction is done, ClickHouse {each(stored[2])} after it")
    if options.flink:
        start("registry", SERVICES / "registry/run", "--port", REGISTRY, ready="ready: ")
        fill("framed", 2, registry=True)
        seconds = flink("framed", 2)
        say("Apache Flink: rollups, results nowhere", seconds, f"{seconds / whole[1]:.1f} times two workers")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tidemark", required=True, type=pathlib.Path)
parser.add_argument("--examples", required=True, type=pathlib.Path, help="folder of `ingest` and `topic_bench`")
parser.add_argument("--events", type=int, default=2_000_000)
parser.add_argument("--flink", type=pathlib.Path, help="folder with Flink's jars")
parser.add_argument("--work", type=pathlib.Path, help="folder for data and logs, kept")
options = parser.parse_args()
options.tidemark, options.examples = options.tidemark.resolve(), options.examples.resolve()
work = options.work.resolve() if options.work else pathlib.Path(tempfile.mkdtemp(prefix="tidemark-kafka-"))
work.mkdir(exist_ok=True)
try:
    main()
finally:
    for process in reversed(started):
        if process.poll() is None:
            process.terminate()
    for process in started:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    if not options.work:
        shutil.rmtree(work, ignore_errors=True)
