#!/usr/bin/env python3
"""Kafka and ClickHouse are away while events are accepted: what is acknowledged waits in the routers' spools and arrives once.

    python3 tests/end_to_end/away.py --tidemark target/release/tidemark [--minutes 10] [--events 100000] [--kills 20]

Both are killed. Meanwhile one router takes the events and is killed itself, again and again, at any moment of a request; its client sends
again what was not acknowledged. A second router may keep little and fills up, a third has a full disk (a small tmpfs: as root only):
both must refuse with 503, stay up, and take events again when Kafka is back. Then lake and ClickHouse are compared with what was
sent. Needs a tidemark with the feature `kafka`, Java 17, Maven and Python with venv; exit code 1 if anything differs.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import threading
import time
import urllib.error

from parts import SERVICES, Stage, compare, engine, events, fetch, in_all, made_here, warehouse

WORKER, API, KAFKA, CLICKHOUSE = 19681, 19683, 19692, 19685
BATCH = 500


class Router:
    """A router with a folder and a key of its own, started again when it was killed."""

    def __init__(self, name, port, folder=None, more=""):
        self.name, self.port, self.folder = name, port, folder or stage.work / name
        (stage.work / f"{name}.toml").write_text(more + SETTINGS)
        self.key = stage.tidemark("keys", "create", "--account", name, "--gateway", "--data-dir", self.folder, "--format", "text").strip()
        self.again()

    def again(self):
        self.process, _ = stage.start(self.name, stage.binary, "router", "--config", f"{self.name}.toml", "--data-dir", self.folder,
                                      "--listen", f"127.0.0.1:{self.port}", ready="is up")

    def post(self, batch):
        """The status of an answer, or None if none came."""
        body = "\n".join(json.dumps(event) for event in batch).encode()
        try:
            fetch(f"http://127.0.0.1:{self.port}/v1/events", body,
                  {"authorization": f"Bearer {self.key}", "content-type": "application/x-ndjson"})
            return 200
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, http.client.HTTPException):
            return None

    def fill(self, batches):
        """Posts until it refuses; the batches that it took, and the one that it did not."""
        taken = []
        for batch in batches:
            status = self.post(batch)
            if status != 200:
                fetch(f"http://127.0.0.1:{self.port}/healthz")
                return taken, batch, status
            taken += batch
        raise SystemExit(f"{self.name} never refused")


def main():
    global SETTINGS
    kafka, _ = stage.start("kafka", SERVICES / "kafka/run", stage.work / "kafka", "--port", KAFKA, ready="ready: ")
    house, clickhouse = engine(stage, CLICKHOUSE)
    SETTINGS = f'[kafka]\nbrokers = "127.0.0.1:{KAFKA}"\nreplication = 1\npartitions = 4\n[clickhouse]\nurl = "{clickhouse}"\n'
    (stage.work / "all.toml").write_text(SETTINGS)
    common = ("--config", "all.toml")
    worker, _ = stage.start("rollup", stage.binary, "rollup", *common, "--data-dir", "lake", "--listen", f"127.0.0.1:{WORKER}", ready="is up")
    stage.start("api", stage.binary, "api", *common, "--data-dir", "lake", "--listen", f"127.0.0.1:{API}", ready="is up")
    made = list(events(options.events + 400 * BATCH))
    spare = iter([made[at : at + BATCH] for at in range(options.events, len(made), BATCH)])
    sent, faults = made[: options.events], []
    dice = random.Random(11)
    router = Router("first", 19680)

    def all_in():
        totals = json.loads(fetch(f"http://127.0.0.1:{API}/api/v1/rankings/models?period=all"))["meta"]["totals"]["total_requests"]
        try:
            return totals == len(sent) and warehouse(clickhouse, "SELECT count(*) FROM usage_events") == str(len(sent))
        except OSError:
            return False

    # A tenth arrives before the faults.
    batches = [sent[at : at + BATCH] for at in range(0, len(sent), BATCH)]
    early = len(batches) // 10
    for batch in batches[:early]:
        assert router.post(batch) == 200

    os.kill(int((stage.work / "kafka/broker-1/pid").read_text()), 9)
    kafka.wait(30)
    house.kill()
    house.wait()
    gone = time.time()
    kills = set(dice.sample(range(early, len(batches)), options.kills))
    unanswered = 0
    for at, batch in enumerate(batches[early:], early):
        time.sleep(max(0, gone + (at - early) * options.minutes * 60 / (len(batches) - early) - time.time()))
        if at in kills:
            threading.Timer(dice.random() * 0.03, router.process.kill).start()
        status = router.post(batch)
        if at in kills:
            router.process.wait(10)
            faults.append(router.process.returncode)
            router.again()
        while status != 200:
            assert status is None, status
            unanswered += 1
            status = router.post(batch)
    print(f"{len(sent):,} events accepted, all but {early * BATCH:,} of them within {time.time() - gone:.0f} s without Kafka and ClickHouse; "
          f"router killed {faults.count(-9)} times, {unanswered} times in the middle of a request")
    assert faults == [-9] * options.kills, faults

    # What is full says so.
    narrow = [Router("small", 19686, more="journal_max_bytes = 4194304\n")]
    disk = stage.work / "disk"
    if os.geteuid() == 0:
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
        narrow.append(Router("on-a-full-disk", 19687, folder=disk / "router"))
    refused = []
    for full in narrow:
        taken, left, status = full.fill(spare)
        sent += taken
        refused.append((full, left))
        print(f"{full.name}: {len(taken):,} events taken, then {status}")
        assert status == 503, status

    kafka, _ = stage.start("kafka", SERVICES / "kafka/run", stage.work / "kafka", "--port", KAFKA, ready="ready: ")
    engine(stage, CLICKHOUSE)
    back = time.time()
    for full, left in refused:
        while (status := full.post(left)) != 200:
            assert status == 503 and time.time() - back < 60, f"{full.name} still answers {status}"
            time.sleep(0.5)
        sent += left
        print(f"{full.name}: takes events again {time.time() - back:.1f} s after Kafka is back")
    while not all_in() and time.time() - back < 120:
        time.sleep(0.5)
    print(f"both sinks complete {time.time() - back:.1f} s after both are back")
    assert worker.poll() is None, "the worker ended"

    tokens = sum(event["prompt_tokens"] + event["completion_tokens"] for event in sent)
    wrong = compare(in_all(stage, common, clickhouse, len(sent), tokens) + made_here(stage, common, clickhouse, sent))
    return 0 if stage.verify(*common) and not wrong else 1


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tidemark", required=True)
parser.add_argument("--minutes", type=float, default=10, help="how long both are away")
parser.add_argument("--events", type=int, default=100_000)
parser.add_argument("--kills", type=int, default=20, help="of the router meanwhile")
parser.add_argument("--keep", action="store_true", help="leave the folder of logs and data")
options = parser.parse_args()
stage = Stage(options.tidemark)


def unmount():
    if os.path.ismount(stage.work / "disk"):
        subprocess.run(["umount", stage.work / "disk"], check=True)


stage.run(main, options.keep, unmount)
