"""What the end-to-end runs share: processes and their logs in one folder, events that are known here, and what the sinks should hold."""

import datetime
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

HERE = pathlib.Path(__file__).resolve().parent
SERVICES = HERE.parent / "services"
CACHE = pathlib.Path.home() / ".cache/tidemark"
SUMS = "count(*) AS n, sum(prompt_tokens + completion_tokens) AS tokens, sum(cost_nanousd) AS cost"


class Stage:
    """A folder for logs and data, and the processes that run in it."""

    def __init__(self, binary):
        self.binary = str(pathlib.Path(binary).resolve())
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-end-to-end-"))
        self.started = []

    def start(self, name, *command, ready=None):
        """Starts a process; waits until its output matches `ready`."""
        log = (self.work / f"{name}.log").open("a+")
        at = log.seek(0, 2)
        process = subprocess.Popen([str(part) for part in command], cwd=self.work, stdout=log, stderr=subprocess.STDOUT)
        self.started.append(process)
        deadline = time.time() + 90
        while ready:
            with (self.work / f"{name}.log").open() as text:
                text.seek(at)
                if found := re.search(ready, text.read()):
                    return process, found
            if process.poll() is not None or time.time() > deadline:
                sys.exit(f"{name} does not run: see {self.work}/{name}.log")
            time.sleep(0.1)
        return process, None

    def tidemark(self, *arguments):
        """What a command prints."""
        done = subprocess.run([self.binary, *map(str, arguments)], cwd=self.work, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"tidemark {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def lake(self, sql, *settings):
        """Rows of the lake."""
        return [json.loads(line) for line in self.tidemark("sql", *settings, "--data-dir", "lake", "--format", "json", sql).splitlines()]

    def verify(self, *settings):
        """Says what `lake verify` finds; whether all is well."""
        proof = subprocess.run([self.binary, "lake", "verify", *settings, "--data-dir", "lake"], cwd=self.work, capture_output=True, text=True)
        print(proof.stdout.strip() or proof.stderr.strip())
        return proof.returncode == 0

    def run(self, main, keep=False, parting=lambda: None):
        """Runs `main`, ends every process, calls `parting`, and leaves with the code of `main`."""
        try:
            code = main()
        finally:
            for process in reversed(self.started):
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            for process in self.started:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
            parting()
            if keep:
                print(f"kept: {self.work}")
            else:
                shutil.rmtree(self.work, ignore_errors=True)
        sys.exit(code)


def cpu(pid):
    """Seconds of CPU that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def size(folder, files="*"):
    return sum(file.stat().st_size for file in folder.rglob(files) if file.is_file())


def fetch(url, body=None, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=60) as answer:
        return answer.read().decode()


def warehouse(url, sql):
    """What ClickHouse answers, as text."""
    return fetch(f"{url}/?database=tidemark", sql.encode()).strip()


def python(folder, *packages):
    """Python of a venv with what is asked for."""
    venv = CACHE / folder
    if not (venv / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
    return venv / "bin/python"


def engine(stage, port=0):
    """The ClickHouse engine: its process and its address."""
    house, found = stage.start("clickhouse", python("clickhouse", "-r", SERVICES / "clickhouse/requirements.txt"),
                               SERVICES / "clickhouse/serve.py", stage.work / "clickhouse", "--port", port, ready=r"ready: (http://\S+)")
    return house, found.group(1)


def events(count, days=20):
    """Usage events of the last days whose requests, tokens and costs are known here."""
    dice, now = random.Random(5), time.time()
    for n in range(count):
        at = datetime.datetime.fromtimestamp(now - dice.randrange(int(days * 86_400)), datetime.timezone.utc)
        yield {
            "event_id": str(uuid.UUID(int=dice.getrandbits(128))), "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "request_id": f"made-{n}", "account_id": f"a{n % 50}", "app": f"https://app{n % 7}.example",
            "model": ["openai/gpt-4o", "anthropic/claude-sonnet-4.5"][n % 2], "provider": ["openai", "anthropic"][n % 2],
            "prompt_tokens": dice.randrange(1, 5000), "completion_tokens": dice.randrange(1, 900), "cost_nanousd": dice.randrange(1, 10**7),
        }


def digest(ids):
    """How many, and which, in no order."""
    return f"{len(ids)} {hashlib.sha256(chr(10).join(sorted(ids)).encode()).hexdigest()[:16]}"


def compare(checks):
    """Prints what was sent and what each sink has, by name; how many differ. None where nobody knows what was sent."""
    wrong = 0
    for name, wanted, here, there in checks:
        same = here == there and wanted in (here, None)
        wrong += not same
        print(f"{'ok   ' if same else 'WRONG'} {name:30} {'' if wanted is None else f'sent {wanted}  '}lake {here}  clickhouse {there}")
    return wrong


def in_all(stage, settings, clickhouse, events, tokens):
    """Checks of how many events there are, and of all their tokens and cost."""
    lake = stage.lake(f"SELECT {SUMS} FROM usage_events", *settings)[0]
    house = [int(part) for part in warehouse(clickhouse, f"SELECT {SUMS} FROM usage_events").split("\t")]
    return [
        ("events", events, lake["n"], house[0]),
        ("tokens", tokens, lake["tokens"], house[1]),
        ("cost of all", None, lake["cost"], house[2]),
    ]


def made_here(stage, settings, clickhouse, made):
    """Checks of the events from `events`, request by request, and of their cost."""
    asked = "SELECT request_id AS id, cost_nanousd AS cost FROM usage_events WHERE request_id LIKE 'made-%'"
    lake = stage.lake(asked, *settings)
    house = [line.split("\t") for line in warehouse(clickhouse, asked).splitlines()]
    return [
        ("requests of events made here", digest([event["request_id"] for event in made]),
         digest([row["id"] for row in lake]), digest([row[0] for row in house])),
        ("their cost", sum(event["cost_nanousd"] for event in made), sum(row["cost"] for row in lake), sum(int(row[1]) for row in house)),
    ]
