"""The peers in the ingest benchmark: DuckDB and the ClickHouse engine do Tidemark's work on the same events.

    peers.py --jsonl FILE --avro FILE --out DIR [--engine duckdb|clickhouse-json|clickhouse-avro ...] [--exact] [--json]

Each engine runs in a process of its own on two threads. CPU and wall time go from the open engine to the last file written,
without the start of Python and the loading of the library; those are inside the last column. README.md beside this
file says what is equal to Tidemark's side and what is not.
"""
import argparse
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = HERE.parent.parent / "schemas" / "usage_event.avsc"
ENGINES = ["duckdb", "clickhouse-json", "clickhouse-avro"]
TABLES = ["raw", "models_by_hour", "endpoints_by_minute", "apps_by_hour", "accounts_by_day", "failed_attempts_by_minute"]
# Sums that no engine may differ in: the proof that all did the same work.
CONTROL = {
    "raw": "count(*), sum(prompt_tokens), sum(cost_nanousd), count(ttft_us), sum(epoch_us(ts)), sum(len(failed_attempts))",
    "models_by_hour": "count(*), sum(requests), sum(prompt_tokens), sum(cost_nanousd), sum(answered), sum(errors), "
    "sum(cancelled), sum(filtered), sum(declined), sum(declined_text), sum(tool_requests_ok), sum(tools_ignored)",
    "endpoints_by_minute": "count(*), sum(requests), sum(prompt_tokens), sum(cost_nanousd), sum(attempts_failed), "
    "sum(overhead_us), sum(len(latency_us)), min(epoch_us(minute)), max(epoch_us(minute))",
    "apps_by_hour": "count(*), sum(requests), sum(completion_tokens), sum(cost_nanousd)",
    "accounts_by_day": "count(*), sum(requests), sum(reasoning_tokens), sum(cost_nanousd)",
    "failed_attempts_by_minute": "count(*), sum(attempts), sum(attempts_failed), sum(rate_limited), sum(cost_nanousd)",
}
# Means of estimates over groups of some size: smaller groups and the far tail depend on how an engine defines a quantile.
ESTIMATES = {name: f"avg({name}) FILTER (requests >= 100)" for name in ["latency_us[1]", "latency_us[2]", "accounts"]}


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_bytes():
    """The peak of this process alone; ru_maxrss would begin at the parent's."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) * 1024


def statements(sql):
    """The statements of an .sql file, each with the table it writes ("setup" when none)."""
    for statement in re.split(r";[ ]*$", re.sub(r"^--.*$", "", sql, flags=re.M), flags=re.M):
        statement = statement.strip()
        if statement:
            files = re.findall(r"/(\w+)\.parquet'", statement)
            # COPY names its file last, INSERT first.
            yield ({"COPY": files[-1:], "INSERT": files[:1]}.get(statement.split()[0]) or ["setup"])[0], statement


def work(arguments):
    """One engine, in this process: prints its figures as one line of JSON."""
    engine, out = arguments.engine[0], pathlib.Path(arguments.out)
    if engine == "duckdb":
        import duckdb

        version, run = duckdb.__version__, duckdb.connect().execute
        places = {"jsonl": arguments.jsonl, "out": str(out)}
        exact = ("approx_quantile(", "quantile_disc(")
    else:
        from chdb import session

        # The session's own folder is temporary and holds only the definition of a view.
        run = session.Session().query
        version = str(run("SELECT version()", "TSVRaw")).strip()
        json_lines = engine == "clickhouse-json"
        places = {
            "input": arguments.jsonl if json_lines else arguments.avro,
            "format": "JSONEachRow" if json_lines else "Avro",
            "id": "UUID" if json_lines else "FixedString(16)",
            "out": str(out),
        }
        exact = ("quantilesBFloat16(", "quantilesExact(")
    sql = (HERE / f"{engine.split('-')[0]}.sql").read_text()
    for name, value in places.items():
        if re.search(r"['\\{}$]", value):
            sys.exit(f"peers.py: a path must be free of quotes, backslashes, braces and dollars: {value}")
        sql = sql.replace("{" + name + "}", value)
    if arguments.exact:
        sql = sql.replace(*exact)
    steps = {}
    base, wall, begin = peak_bytes(), time.perf_counter(), cpu_seconds()
    for step, statement in statements(sql):
        before = cpu_seconds()
        run(statement)
        steps[step] = steps.get(step, 0) + cpu_seconds() - before
    figures = {"version": version, "cpu_s": cpu_seconds() - begin, "wall_s": time.perf_counter() - wall}
    print(json.dumps(figures | {"peak_bytes": peak_bytes(), "peak_bytes_before": base, "cpu_s_by_step": steps}), flush=True)


def measure(engine, arguments):
    """One engine in a child process; the child's whole CPU time comes from its own rusage."""
    out = pathlib.Path(arguments.out).resolve() / engine
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [sys.executable, __file__, "--work", "--engine", engine, "--out", str(out)]
    command += ["--jsonl", os.path.abspath(arguments.jsonl or ""), "--avro", os.path.abspath(arguments.avro or "")]
    child = subprocess.Popen(command + ["--exact"] * arguments.exact, stdout=subprocess.PIPE, text=True)
    answer = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"peers.py: {engine} failed with {child.returncode}; its message is above")
    figures = json.loads(answer.strip().splitlines()[-1])
    return {"engine": engine} | figures | {"cpu_s_whole_process": usage.ru_utime + usage.ru_stime, "out": str(out)}


def check(results):
    """Adds rows and bytes, and stops when the engines did not do the same work."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET TimeZone = 'UTC'")
    fields = [field["name"] for field in json.loads(SCHEMA.read_text())["fields"]]
    for result in results:
        files = {table: pathlib.Path(result["out"]) / f"{table}.parquet" for table in TABLES}
        query = lambda what, table: connection.execute(f"SELECT {what} FROM read_parquet(?)", [str(files[table])])
        columns = [column[0] for column in query("*", "raw").description]
        if columns != fields:
            sys.exit(f"peers.py: {result['engine']}: columns differ from {SCHEMA.name}: {set(columns) ^ set(fields)}")
        control = {table: [int(value or 0) for value in query(what, table).fetchone()] for table, what in CONTROL.items()}
        estimates = query(", ".join(ESTIMATES.values()), "models_by_hour").fetchone()
        first = results[0].setdefault("control", control)
        for table in TABLES:
            if control[table] != first[table]:
                sys.exit(f"peers.py: {table}: {result['engine']} has {control[table]}, {results[0]['engine']} {first[table]}")
        for name, mine, other in zip(ESTIMATES, estimates, results[0].setdefault("estimates", estimates)):
            if mine and other and abs(mine - other) > 0.05 * other:
                warning = f"{name}: {result['engine']} says {mine:.1f}, {results[0]['engine']} {other:.1f}"
                print(f"peers.py: warning: {warning}", file=sys.stderr)
        events = control["raw"][0]
        sizes = {table: file.stat().st_size for table, file in files.items()}
        result |= {"events": events, "events_per_cpu_s": events / result["cpu_s"], "control": control, "estimates": estimates}
        result["rows"] = {table: control[table][0] for table in TABLES}
        result["bytes_per_event_by_table"] = {table: size / events for table, size in sizes.items()}
        result["bytes_per_event"] = sum(sizes.values()) / events


def table_text(results):
    head = ["engine", "events/cpu-s", "cpu s", "wall s", "peak MB", "bytes/event", "cpu s, whole process"]
    rows = [head] + [
        [f"{r['engine']} {r['version']}", f"{r['events_per_cpu_s']:,.0f}", f"{r['cpu_s']:.2f}", f"{r['wall_s']:.2f}",
         f"{r['peak_bytes'] / 1e6:,.0f}", f"{r['bytes_per_event']:.1f}", f"{r['cpu_s_whole_process']:.2f}"] for r in results
    ]
    rows += [[]] + [["cpu s (bytes/event)"] + [r["engine"] for r in results] + ["rows"]]
    for step in ["setup"] + TABLES:
        cells = [f"{r['cpu_s_by_step'][step]:.2f} ({r['bytes_per_event_by_table'].get(step, 0):.1f})" for r in results]
        rows.append([step] + cells + [f"{results[0]['rows'].get(step, 0):,}"])
    widths = {}
    for row in rows:
        for place, cell in enumerate(row):
            widths[place] = max(widths.get(place, 0), len(cell))
    line = lambda row: "  ".join(c.rjust(widths[i]) if i else c.ljust(widths[i]) for i, c in enumerate(row)).rstrip()
    return "\n".join(line(row) for row in rows)


def main():
    parser = argparse.ArgumentParser(description="DuckDB and the ClickHouse engine at Tidemark's ingest work.")
    parser.add_argument("--jsonl", help="the events as JSON lines")
    parser.add_argument("--avro", help="the events as an Avro object container file")
    parser.add_argument("--out", required=True, help="folder for the outputs, one subfolder per engine (emptied first)")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="may be repeated; default: all with an input")
    parser.add_argument("--exact", action="store_true", help="exact quantiles, whose states grow with the events")
    parser.add_argument("--json", action="store_true", help="JSON alone, no table")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        return work(arguments)
    inputs = {"duckdb": arguments.jsonl, "clickhouse-json": arguments.jsonl, "clickhouse-avro": arguments.avro}
    engines = arguments.engine or [engine for engine in ENGINES if inputs[engine]]
    for engine in engines:
        if not inputs[engine] or not os.path.isfile(inputs[engine]):
            parser.error(f"{engine} needs an input file: {'--avro' if engine.endswith('avro') else '--jsonl'}")
    if not engines:
        parser.error("give --jsonl, --avro or both")
    results = [measure(engine, arguments) for engine in dict.fromkeys(engines)]
    check(results)
    if not arguments.json:
        print(table_text(results), end="\n\n")
    print(json.dumps(results, indent=None if arguments.json else 1))


if __name__ == "__main__":
    main()
