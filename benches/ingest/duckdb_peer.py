"""The peer in the ingest benchmark: DuckDB on the same events. Usage: duckdb_peer.py DIR (made by the example `ingest`)."""
import pathlib, resource, shutil, sys, time
import duckdb

folder = pathlib.Path(sys.argv[1])
out = folder / "duckdb"
shutil.rmtree(out, ignore_errors=True)
out.mkdir()
sql = pathlib.Path(__file__).with_name("duckdb.sql").read_text().replace("{jsonl}", str(folder / "events.jsonl")).replace("{out}", str(out))
start = time.time()
connection = duckdb.connect()
connection.execute(sql)
usage = resource.getrusage(resource.RUSAGE_SELF)
cpu = usage.ru_utime + usage.ru_stime
events = connection.execute("SELECT count(*) FROM e").fetchone()[0]
print(f"duckdb {duckdb.__version__}")
print(f"events              {events}")
print(f"wall                {time.time() - start:.2f} s")
print(f"cpu                 {cpu:.2f} s")
print(f"events per cpu-s    {events / cpu:.0f}")
print(f"peak memory         {usage.ru_maxrss // 1024} MB")
for file in sorted(out.iterdir()):
    rows = connection.execute(f"SELECT count(*) FROM '{file}'").fetchone()[0]
    print(f"{file.stem:<28}{rows:>10} rows {file.stat().st_size / events:>8.1f} bytes per event")
