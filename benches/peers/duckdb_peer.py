"""DuckDB: after each batch everything is computed anew by ../rules.sql, and compared with what it was before.

duckdb_peer.py FOLDER THREADS: reads the batches that main.rs wrote there, and prints a line that says who tells, and a JSON line for each batch: its name,
seconds, changed households, and a sum over all of them. It need not look at versions, since they come in order: that is to its advantage.
"""

import json
import resource
import sys
import time
from pathlib import Path

import duckdb

# What records say beside a person and an item, by register.
TABLES = {
    "person": ["child"],
    "parent": ["parent"],
    "income": ["kind", "amount"],
    "loan": ["balance", "payment", "overdue"],
    "property": ["kind", "value", "area"],
    "benefit": ["kind", "amount"],
    "employment": ["hours", "service", "official"],
    "study": ["level", "fee"],
    "health": ["kind", "days"],
}
BATCH = {"register": "VARCHAR"} | {name: "BIGINT" for name in ("person", "item", "version", "first", "second", "third")}

folder, threads = Path(sys.argv[1]), int(sys.argv[2])
rules = (Path(__file__).parent / "rules.sql").read_text()
database = duckdb.connect(config={"threads": threads})
run = database.execute


def arrive(path):
    """What arrives is there already when the clock begins, as it is for the others; of which registers it is."""
    run(f"CREATE OR REPLACE TABLE batch AS SELECT * FROM read_csv('{path}', columns={BATCH})")
    return [register for (register,) in run("SELECT DISTINCT register FROM batch").fetchall()]


def load(register):
    said = ", ".join(f"{word} AS {name}" for word, name in zip(("first", "second", "third"), TABLES[register]))
    run(f"CREATE TABLE {register} AS SELECT person, item, {said} FROM batch WHERE register = '{register}'")


def merge(register):
    names = TABLES[register]
    said = list(zip(names, ("first", "second", "third")))
    run(f"""
        MERGE INTO {register} AS known USING (SELECT * FROM batch WHERE register = '{register}') AS said
            ON known.person = said.person AND known.item = said.item
        WHEN MATCHED AND said.first IS NULL THEN DELETE
        WHEN MATCHED THEN UPDATE SET {", ".join(f"{name} = said.{word}" for name, word in said)}
        WHEN NOT MATCHED THEN INSERT (person, item, {", ".join(names)}) VALUES (said.person, said.item, {", ".join(f"said.{word}" for _, word in said)})""")


def judge():
    """How many households are judged otherwise than before."""
    run(f"CREATE TABLE now AS {rules}")
    changed = run("SELECT count(*) FROM now JOIN result USING (household) WHERE now.score != result.score OR now.category != result.category").fetchone()[0]
    run("DROP TABLE result")
    run("ALTER TABLE now RENAME TO result")
    return changed


def tell(name, seconds, changed):
    total = run("SELECT sum(household % 1000003 * (score * 10 + category + 1))::BIGINT FROM result").fetchone()[0]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"batch": name, "seconds": seconds, "changed": changed, "sum": total, "peak_bytes": memory}), flush=True)


print(json.dumps({"about": f"DuckDB {duckdb.__version__}, everything anew, {threads} threads, in memory"}), flush=True)
first, *batches = sorted(folder.iterdir())
arrive(first)
started = time.perf_counter()
for register in TABLES:
    load(register)
run(f"CREATE TABLE result AS {rules}")
tell(first.stem, time.perf_counter() - started, run("SELECT count(*) FROM result").fetchone()[0])
for path in batches:
    registers = arrive(path)
    started = time.perf_counter()
    for register in registers:
        merge(register)
    changed = judge()
    tell(path.stem, time.perf_counter() - started, changed)
