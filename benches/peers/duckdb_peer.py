"""DuckDB: after each batch everything is computed anew by ../rules.sql, and compared with what it was before.

duckdb_peer.py FOLDER THREADS: reads what main.rs wrote there, and prints a JSON line for each batch: its name, seconds, changed households, and a sum over
all of them.
"""

import json
import resource
import sys
import time
from pathlib import Path

import duckdb

folder, threads = Path(sys.argv[1]), int(sys.argv[2])
rules = (Path(__file__).parent / "rules.sql").read_text()
database = duckdb.connect(config={"threads": threads})
run = database.execute

started = time.perf_counter()
run(f"CREATE TABLE person AS SELECT * FROM read_csv('{folder}/person.csv', columns={{'person':'BIGINT','child':'BOOLEAN','parent':'BIGINT'}})")
run(f"CREATE TABLE income AS SELECT * FROM read_csv('{folder}/income.csv', columns={{'person':'BIGINT','source':'BIGINT','amount':'BIGINT'}})")
run(f"CREATE TABLE loan AS SELECT * FROM read_csv('{folder}/loan.csv', columns={{'person':'BIGINT','contract':'BIGINT','balance':'BIGINT','overdue':'BIGINT'}})")
run(f"CREATE TABLE result AS {rules}")


def tell(name, seconds, changed):
    total = run("SELECT sum(household * (score * 10 + category + 1))::BIGINT FROM result").fetchone()[0]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"batch": name, "seconds": seconds, "changed": changed, "sum": total, "peak_bytes": memory}), flush=True)


tell("load", time.perf_counter() - started, run("SELECT count(*) FROM result").fetchone()[0])
columns = "{'kind':'VARCHAR','person':'BIGINT','id':'BIGINT','value':'BIGINT','overdue':'BIGINT'}"
for batch in sorted((folder / "batches").iterdir()):
    # What arrives is there already, as it is for the others.
    run(f"CREATE OR REPLACE TABLE batch AS SELECT * FROM read_csv('{batch}', columns={columns})")
    started = time.perf_counter()
    run("UPDATE income SET amount = value FROM batch WHERE kind = 'income' AND batch.person = income.person AND batch.id = income.source")
    run("DELETE FROM loan USING batch WHERE kind = 'repaid' AND batch.person = loan.person AND batch.id = loan.contract")
    run("INSERT INTO loan SELECT person, id, value, overdue FROM batch WHERE kind = 'loan'")
    run(f"CREATE TABLE now AS {rules}")
    changed = run("SELECT count(*) FROM now JOIN result USING (household) WHERE now.score != result.score OR now.category != result.category").fetchone()[0]
    run("DROP TABLE result")
    run("ALTER TABLE now RENAME TO result")
    tell(batch.stem, time.perf_counter() - started, changed)
