#!/usr/bin/env python3
"""What a gateway adds: latency at a fixed rate, CPU time per request at saturation, CPU time and delay per chunk.

    run.py --tidemark target/release/tidemark --ends target/release/examples/overhead [--rounds 3] [--seconds 8]
           [--only NAME ...] [--part latency|cpu|chunks ...] [--peers DIR] [--json]

Client and upstream run on one core, the gateway on the other. The gateways take turns within each round, and a figure is the
median over the rounds. README.md beside this file says what is equal, and how to get the peers.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ENDS_CORE, GATEWAY_CORE = "0", "1"
UPSTREAM = "127.0.0.1:9100"
# Requests per second where every gateway can follow, and for the two that cannot.
RATE, SLOW_RATE = 200, 20
KINDS = [(0, "whole"), (20, "stream")]
QUANTILES = ["p50", "p90", "p99"]
TICKS = os.sysconf("SC_CLK_TCK")


class Gateway:
    """How to start one, and how to ask it."""

    def __init__(self, name, port, command, *, model="bench", path="/v1/chat/completions", headers=(), slow=False, env=None):
        self.name, self.port, self.command, self.slow, self.env = name, port, command, slow, env or {}
        self.plan = {"target": f"127.0.0.1:{port}", "path": path, "model": model, "headers": list(headers), "key": "none"}
        self.process = None

    def start(self, log):
        self.process = subprocess.Popen(["taskset", "-c", GATEWAY_CORE, *self.command], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                        env={**os.environ, **self.env}, start_new_session=True)

    def learn(self, said):
        """What only its output tells: the key of our router alone, the port of TensorZero."""
        if self.name == "tidemark router" and said:
            self.plan["key"] = said.split()[0]
        if found := re.search(r"^http://(127\.0\.0\.1:\d+)/openai/v1$", said, re.M):
            self.plan["target"] = found[1]

    def processes(self):
        """Its process and all below it."""
        children = {}
        for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = status.read_text().rsplit(") ", 1)[1].split()
                children.setdefault(int(fields[1]), []).append(int(status.parent.name))
        found, look = [], [self.process.pid]
        while look:
            pid = look.pop()
            found.append(pid)
            look.extend(children.get(pid, []))
        return found

    def cpu_seconds(self):
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def resident_mib(self):
        """What is resident, and what of it is no page of a file, such as the program itself."""
        total = own = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                _, resident, of_files, *_ = map(int, pathlib.Path(f"/proc/{pid}/statm").read_text().split())
                total += resident
                own += resident - of_files
        return [round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1) for pages in (total, own)]

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            if self.process.poll() is None:
                os.killpg(self.process.pid, 9)


def tidemark(options, work):
    """The whole process, and the router with its journal alone."""
    base = f"http://{UPSTREAM}/v1"
    data, settings = work / "tidemark", work / "tidemark.toml"
    settings.write_text(f'listen = "127.0.0.1:9110"\ndata_dir = "{data}"\n[[router.upstreams]]\nprovider = "openai"\ndialect = "openai"\nbase_url = "{base}"\nsimulated = true\n')
    made = subprocess.run([options.tidemark, "keys", "create", "--account", "bench", "--format", "text", "--config", str(settings)],
                          capture_output=True, text=True, check=True)
    whole = Gateway("tidemark", 9110, [options.tidemark, "up", "--config", str(settings)], model="openai/gpt-4o")
    whole.plan["key"] = made.stdout.strip()
    found = [whole]
    alone = pathlib.Path(options.ends).parent / "gateway"
    if alone.exists():
        (work / "router").mkdir()
        router = Gateway("tidemark router", 9111, [str(alone), "127.0.0.1:9111", str(work / "router"), base], model="openai/gpt-4o")
        found.append(router)
    return found


def gateways(options, work):
    """Those that are installed; a word about each that is not."""
    peers, base = pathlib.Path(options.peers), f"http://{UPSTREAM}"
    found = tidemark(options, work)

    def configuration(name):
        text = (HERE / "peers" / name).read_text().replace("UPSTREAM", UPSTREAM).replace("WORK", str(work))
        (work / name).write_text(text)
        return str(work / name)

    if program := shutil.which("haproxy"):
        found.append(Gateway("haproxy", 9101, [program, "-f", configuration("haproxy.cfg")]))
    if program := shutil.which("nginx"):
        found.append(Gateway("nginx", 9102, [program, "-p", str(work), "-c", configuration("nginx.conf")]))
    if (python := peers / "tensorzero/bin/python").exists():
        found.append(Gateway("tensorzero", 9103, [str(python), str(HERE / "peers/tensorzero_gateway.py"), configuration("tensorzero.toml")],
                             path="/openai/v1/chat/completions", model="tensorzero::model_name::bench"))
    if (server := peers / "node_modules/@portkey-ai/gateway/build/start-server.js").exists():
        found.append(Gateway("portkey", 9104, ["node", str(server), "--port=9104", "--headless"], slow=True,
                             headers=["x-portkey-provider: openai", f"x-portkey-custom-host: {base}/v1"],
                             env={"TRUSTED_CUSTOM_HOSTS": UPSTREAM.rsplit(":", 1)[0] + ",localhost"}))
    if (program := peers / "litellm/bin/litellm").exists():
        found.append(Gateway("litellm", 9105, [str(program), "--config", configuration("litellm.yaml"), "--port", "9105", "--host", "127.0.0.1"],
                             slow=True, env={"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}))
    for name in ["haproxy", "nginx", "tensorzero", "portkey", "litellm"]:
        if name not in [gateway.name for gateway in found]:
            say(f"{name} is not installed: left out")
    return [gateway for gateway in found if not options.only or gateway.name in options.only]


def say(text):
    print(text, file=sys.stderr, flush=True)


def load(options, plan, **more):
    plan = {**plan, **more}
    done = subprocess.run(["taskset", "-c", ENDS_CORE, options.ends, "load", json.dumps(plan)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the client failed: {done.stderr}")
    return json.loads(done.stdout)


def wait_for(options, gateway, log):
    """Until it answers as it should."""
    for _ in range(240):
        if gateway.process.poll() is not None:
            break
        gateway.learn(log.read_text())
        seen = load(options, gateway.plan, rate=20, seconds=0.1, connections=2)
        # Another program on its port may answer in its place, while it ends for want of it.
        if seen["requests"] and not seen["failed"] and gateway.process.poll() is None:
            return True
        time.sleep(0.5)
    say(f"{gateway.name} does not answer ({seen['first_failure'] if gateway.process.poll() is None else 'it ended'}), left out; its last words:\n{log.read_text()[-600:]}")
    return False


def added(seen, floor, quantile):
    """Microseconds more than straight to the upstream; none where nothing was answered."""
    with_it, without = seen["latency_us"][quantile], floor["latency_us"][quantile]
    return None if with_it is None or without is None else with_it - without


class Figures:
    """By gateway and name, a list over the rounds."""

    def __init__(self, options):
        self.options, self.all = options, {}

    def note(self, name, **values):
        for key, value in values.items():
            if value is not None:
                self.all.setdefault(name, {}).setdefault(key, []).append(value)

    def run(self, name, plan, gateway=None, **more):
        """What the client saw, and the gateway's CPU seconds meanwhile."""
        before = gateway.cpu_seconds() if gateway else 0
        seen = load(self.options, plan, seconds=self.options.seconds, **more)
        if seen["failed"]:
            say(f"{name}: {seen['failed']} of {seen['failed'] + seen['requests']} failed: {seen['first_failure']}")
        return seen, (gateway.cpu_seconds() - before if gateway else 0)

    def latency(self, straight, found):
        """At a fixed rate, whole answers and streams."""
        rates = {RATE, *(SLOW_RATE for gateway in found if gateway.slow)}
        for chunks, kind in KINDS:
            floor = {}
            for rate in rates:
                floor[rate], _ = self.run("straight", straight, rate=rate, chunks=chunks)
                name = "straight" if rate == RATE else f"straight at {rate}/s"
                self.note(name, **{f"{kind} {q}": floor[rate]["latency_us"][q] for q in QUANTILES})
            for gateway in found:
                rate = SLOW_RATE if gateway.slow else RATE
                seen, _ = self.run(gateway.name, gateway.plan, rate=rate, chunks=chunks)
                self.note(gateway.name, **{f"{kind} {q}": added(seen, floor[rate], q) for q in QUANTILES})

    def cpu(self, found):
        """As many requests as go."""
        for chunks, kind in KINDS:
            for gateway in found:
                seen, cpu = self.run(gateway.name, gateway.plan, gateway, chunks=chunks, connections=16)
                if answered := seen["requests"]:
                    self.note(gateway.name, **{f"{kind} cpu us": cpu / answered * 1e6, f"{kind} per s": answered / seen["seconds"]})

    def chunks(self, straight, found):
        """8 streams of 2,000 chunks, 250 a second each."""
        plan = {"chunks": 2000, "every_us": 4000, "connections": 8}
        seen, _ = self.run("straight", straight, **plan)
        self.note("straight", **{f"chunk {q}": seen["chunk_us"][q] for q in ["p50", "p99"]})
        for gateway in found:
            if gateway.slow:
                continue
            seen, cpu = self.run(gateway.name, gateway.plan, gateway, **plan)
            if arrived := seen["chunks"]:
                self.note(gateway.name, **{f"chunk {q}": seen["chunk_us"][q] for q in ["p50", "p99"]})
                self.note(gateway.name, **{"chunk cpu us": cpu / arrived * 1e6})


def measure(options, found):
    """Every part, the gateways by turns."""
    figures, straight = Figures(options), {"target": UPSTREAM, "model": "bench"}
    for turn in range(options.rounds):
        say(f"round {turn + 1} of {options.rounds}")
        if "latency" in options.part:
            figures.latency(straight, found)
        if "cpu" in options.part:
            figures.cpu(found)
        if "chunks" in options.part:
            figures.chunks(straight, found)
    return figures.all


def soak(options, gateway):
    """Mixed load without a pause: memory over time, in MiB."""
    say(f"{gateway.name}: {options.soak} minutes of mixed load")
    samples, end = [], time.monotonic() + options.soak * 60
    plan = {**gateway.plan, "mixed": True, "connections": 32, "seconds": options.soak * 60}
    client = subprocess.Popen(["taskset", "-c", ENDS_CORE, options.ends, "load", json.dumps(plan)], stdout=subprocess.PIPE, text=True)
    begun = time.monotonic()
    while time.monotonic() < end:
        time.sleep(10)
        samples.append((round(time.monotonic() - begun), *gateway.resident_mib()))
        say("{:6} s  {:8} MiB resident, {:8} its own".format(*samples[-1]))
    seen = json.loads(client.communicate()[0])
    half = len(samples) // 2
    halves = lambda column: [statistics.median(row[column] for row in rows) for rows in (samples[:half] or samples, samples[half:])]
    return {"requests": seen["requests"], "failed": seen["failed"], "first_failure": seen["first_failure"],
            "per_second": seen["requests"] / seen["seconds"], "median_mib_of_halves": halves(1), "median_own_mib_of_halves": halves(2),
            "peak_mib": max(row[1] for row in samples), "samples": samples}


def table(figures):
    names = list(dict.fromkeys(key for values in figures.values() for key in values))
    print(f"{'median of rounds':18}" + "".join(f"{name:>15}" for name in names))
    for gateway, values in figures.items():
        print(f"{gateway:18}" + "".join(f"{statistics.median(values[name]):15,.1f}" if name in values else f"{'':15}" for name in names))


def verdicts(figures):
    """The aims, with the figures they rest on."""
    def of(gateway, name):
        return statistics.median(figures[gateway][name]) if name in figures.get(gateway, {}) else None
    for kind in ["whole", "stream"]:
        for name, peer, limit in [(f"{kind} p50", "haproxy", 2), (f"{kind} cpu us", "haproxy", 2), (f"{kind} p99", "tensorzero", 0.5)]:
            ours, theirs = of("tidemark", name), of(peer, name)
            if ours is not None and theirs:
                print(f"{'met' if ours <= limit * theirs else 'MISSED':7} {name}: {ours:,.0f} us, {ours / theirs:.2f} times {peer}'s {theirs:,.0f}; the aim is at most {limit} times")
    if (ours := of("tidemark", "chunk p99")) is not None:
        print(f"{'met' if ours < 1000 else 'MISSED':7} chunk p99: {ours:,.0f} us from provider to client; the aim is under 1,000")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tidemark", required=True)
    parser.add_argument("--ends", required=True)
    parser.add_argument("--peers", default=os.path.expanduser("~/.cache/tidemark/peers"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--part", action="append", choices=["latency", "cpu", "chunks"])
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="mixed load on tidemark alone, and its memory")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.part = options.part or ["latency", "cpu", "chunks"]
    if options.soak:
        options.only = ["tidemark"]
    with tempfile.TemporaryDirectory(prefix="overhead-") as work, contextlib.ExitStack() as stack:
        work = pathlib.Path(work)
        upstream = subprocess.Popen(["taskset", "-c", ENDS_CORE, options.ends, "upstream", UPSTREAM])
        stack.callback(upstream.kill)
        answering = []
        for gateway in gateways(options, work):
            log = work / f"{gateway.name.replace(' ', '-')}.log"
            gateway.start(stack.enter_context(log.open("w")))
            stack.callback(gateway.stop)
            if wait_for(options, gateway, log):
                answering.append(gateway)
        if options.soak:
            result = soak(options, answering[0])
            print(json.dumps(result))
            return
        figures = measure(options, answering)
        if options.json:
            print(json.dumps(figures))
        else:
            table(figures)
            verdicts(figures)


if __name__ == "__main__":
    main()
