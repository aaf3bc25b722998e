#!/usr/bin/env python3
"""All parts as processes of their own: router, Kafka, two rollup workers, lake, ClickHouse, and an api over each of the two sinks.

    python3 tests/end_to_end/run.py --tidemark target/release/tidemark [--brokers 3] [--bucket] [--calm] [TRACE.csv ...]

A worker is killed half-way, and of three brokers one, unless --calm. Sent are events of a made-up month (POST /v1/events, half of them twice), requests with OpenAI's SDK through
the router to simulated providers, and traces in Azure's format. What the sinks should hold is worked out here from what was sent:
how many, which ids, tokens, cost. Needs Java 17, Maven and Python with venv, for a bucket Go and curl; prints what it compared, exit code 1 if anything differs.
"""

import argparse
import csv
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import time
import urllib.error

from parts import HERE, SERVICES, Stage, compare, cpu, digest, engine, events, fetch, in_all, made_here, python, size, warehouse

ROUTER, WORKERS, API_LAKE, API_CLICKHOUSE, SIM, KAFKA, STORE = 19480, (19481, 19482), 19483, 19484, 19490, 19392, 19500


def main():
    oracle, birth = {"events": 0, "tokens": 0}, time.time()
    house, clickhouse = engine(stage)
    start("kafka", SERVICES / "kafka/run", work / "kafka", "--port", KAFKA, "--brokers", options.brokers, ready="ready: ")
    start("sim", binary, "sim", "--speed", "max", "--no-faults", "--listen", f"127.0.0.1:{SIM}", ready="# Simulated")
    settings = (work / "sim.log").read_text() + f"""
[kafka]
brokers = "{','.join(f'127.0.0.1:{KAFKA + n}' for n in range(options.brokers))}"
replication = {options.brokers}
partitions = 6

[clickhouse]
url = "{clickhouse}"
"""
    if options.bucket:
        start("store", SERVICES / "minio/run", work / "store", "--port", STORE, ready="ready: ")
        (work / "secret").write_text("tidemark-secret")
        settings += f"""
[lake]
url = "s3://tidemark/lake"
endpoint = "http://127.0.0.1:{STORE}"
region = "us-east-1"
access_key = "tidemark"
secret_key_file = "{work}/secret"
"""
    (work / "all.toml").write_text(settings)
    common = ("--config", "all.toml")
    key = tidemark("keys", "create", "--account", "acme", "--data-dir", "router", "--format", "text").strip()
    gateway = tidemark("keys", "create", "--account", "elsewhere", "--gateway", "--data-dir", "router", "--format", "text").strip()
    router, _ = start("router", binary, "router", *common, "--data-dir", "router", "--listen", f"127.0.0.1:{ROUTER}", ready="is up")
    workers = [start(f"rollup-{port}", binary, "rollup", *common, "--data-dir", "lake", "--listen", f"127.0.0.1:{port}", ready="is up")[0]
               for port in WORKERS]
    api, _ = start("api-lake", binary, "api", *common, "--data-dir", "lake", "--listen", f"127.0.0.1:{API_LAKE}", ready="is up")
    (work / "clickhouse.toml").write_text('api_reads = "clickhouse"\n' + settings)
    start("api-clickhouse", binary, "api", "--config", "clickhouse.toml", "--listen", f"127.0.0.1:{API_CLICKHOUSE}", ready="is up")

    # Events with known ids, half of them twice.
    made = list(events(options.events, options.days))
    told = made + random.Random(6).sample(made, len(made) // 2)
    for at in range(0, len(told), 500):
        body = "\n".join(json.dumps(event) for event in told[at : at + 500]).encode()
        fetch(f"http://127.0.0.1:{ROUTER}/v1/events", body,
              {"authorization": f"Bearer {gateway}", "content-type": "application/x-ndjson"})
        if at == 500 * (len(told) // 1000) and not options.calm:
            workers[0].kill()
            print("killed a worker")
            if options.brokers > 1:
                os.kill(int((work / "kafka/broker-2/pid").read_text()), signal.SIGKILL)
                print("killed a broker")
    oracle["events"] += len(made)
    oracle["tokens"] += sum(event["prompt_tokens"] + event["completion_tokens"] for event in made)

    # Requests with the SDK: the tokens that it was told.
    sdk = python("sdk/venv", "-r", HERE.parent / "sdk/requirements.txt")
    spoken = subprocess.run([sdk, HERE / "speak.py", f"http://127.0.0.1:{ROUTER}/v1", key, str(options.requests)],
                            check=True, capture_output=True, text=True)
    spoken = json.loads(spoken.stdout)
    oracle["events"] += spoken["requests"]
    oracle["tokens"] += spoken["tokens"]

    # Recorded traces: counted here from the file.
    for trace in options.traces:
        subprocess.run([binary, "replay", trace, "--format", "azure", "--to", f"http://127.0.0.1:{ROUTER}", "--shift-to", "now"],
                       env={"TIDEMARK_API_KEY": gateway, "PATH": "/usr/bin"}, check=True, cwd=work, capture_output=True)
        with open(trace, newline="") as rows:
            for row in csv.DictReader(rows):
                oracle["events"] += 1
                oracle["tokens"] += int(row["ContextTokens"]) + int(row["GeneratedTokens"])

    # Until both sinks stand still.
    # The api over the lake says how far it is: a `tidemark sql` of ours would open every table, and be most of what the store is asked.
    def counted():
        try:
            totals = json.loads(fetch(f"http://127.0.0.1:{API_LAKE}/api/v1/rankings/models?period=all"))["meta"]["totals"]
        except urllib.error.HTTPError as error:
            if error.code != 503:  # It has not read the tables for the first time yet.
                raise
            return None
        return totals["total_requests"], warehouse(clickhouse, "SELECT count(*) AS n FROM usage_events")

    began = time.time()
    while counted() != (oracle["events"], str(oracle["events"])):
        if time.time() - began > 60:
            break
        time.sleep(1)
    settled, ran = time.time() - began, time.time() - birth
    processes = {"router": router.pid, "worker" if options.calm else "worker that stayed": workers[1].pid, "api": api.pid,
                 "clickhouse": house.pid, "kafka": int((work / "kafka/broker-1/pid").read_text())}
    if options.calm:
        processes["other worker"] = workers[0].pid
    took = ", ".join(f"{name} {cpu(pid):.1f}" for name, pid in processes.items())
    if options.bucket:
        text = fetch(f"http://127.0.0.1:{STORE}/minio/v2/metrics/cluster")
        asked = {kind: int(float(n)) for kind, n in re.findall(r'minio_s3_requests_total{api="(\w+)"[^}]*} (\S+)', text)}

    plain = lambda text: text.replace("-", "").lower()
    lake_ids = [plain(row["id"]) for row in stage.lake("SELECT event_id AS id FROM usage_events", *common)]
    house_ids = [plain(line) for line in warehouse(clickhouse, "SELECT event_id FROM usage_events").splitlines()]
    checks = [
        *in_all(stage, common, clickhouse, oracle["events"], oracle["tokens"]),
        ("ids, each once", digest(set(lake_ids)), digest(lake_ids), digest(house_ids)),
        *made_here(stage, common, clickhouse, made),
    ]

    # Rankings over the lake and over ClickHouse, from two processes; each looks at its tables twice a second.
    def rankings(port):
        boards = {}
        for board in ("models", "providers", "authors", "apps"):
            for period in ("day", "month", "all"):
                answer = json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/rankings/{board}?period={period}"))
                boards[f"{board} {period}"] = (len(answer["data"]), hashlib.sha256(json.dumps(answer["data"]).encode()).hexdigest()[:16])
        return boards

    began = time.time()
    while (boards := rankings(API_LAKE)) != (others := rankings(API_CLICKHOUSE)) and time.time() - began < 60:
        time.sleep(0.5)
    for board, (rows, answer) in boards.items():
        checks.append((f"ranking {board}, {rows} rows", None, answer, others[board][1]))
    wrong = compare(checks)
    # What it took; bytes are as they lie on the disk, before compaction has put the small files of a minute together.
    kept = int(warehouse(clickhouse, "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'tidemark' AND active"))
    topic = sum(size(folder, "*.log") for folder in (work / "kafka/broker-1/data").glob("tidemark.usage-*"))
    each = lambda size: f"{size / oracle['events']:.0f}"
    stored = size(work / "store/tidemark") if options.bucket else size(work / "lake/lake")
    print(f"bytes an event: Kafka {each(topic)}, lake {each(stored)}, ClickHouse {each(kept)}; CPU seconds: {took}")
    if options.bucket:
        print(f"requests to the store in {ran:.0f} s: {', '.join(f'{kind} {count}' for kind, count in asked.items())}")
    print(f"both sinks complete {settled:.1f} s after the last event")
    return 0 if stage.verify(*common) and not wrong else 1


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tidemark", required=True)
parser.add_argument("--requests", type=int, default=500, help="with the SDK")
parser.add_argument("--events", type=int, default=20_000)
parser.add_argument("--days", type=float, default=20, help="over which the events are spread; each one makes files of its own in each commit")
parser.add_argument("--brokers", type=int, default=1, help="three take 1.2 GB")
parser.add_argument("--bucket", action="store_true", help="the lake in MinIO")
parser.add_argument("--calm", action="store_true", help="nothing is killed: what it takes when all goes well")
parser.add_argument("--keep", action="store_true", help="leave the folder of logs and data")
parser.add_argument("traces", nargs="*", help="in Azure's format")
options = parser.parse_args()
options.traces = [str(pathlib.Path(trace).resolve()) for trace in options.traces]
stage = Stage(options.tidemark)
binary, work, start, tidemark = stage.binary, stage.work, stage.start, stage.tidemark
stage.run(main, options.keep)
