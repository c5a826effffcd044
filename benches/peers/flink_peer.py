"""Apache Flink SQL: the rules as views over the stream of records, kept up to date by Flink's own retractions, on one node with one slot.

flink_peer.py FOLDER THREADS: reads what main.rs wrote there, and prints a JSON line for each batch: its name, seconds, changed households, and a sum over
all of them. Records go to Flink by a socket, and what changes comes back by its `print` table. A batch has ended when two people of our own have come
out, of whom the income and the loan changed last: with one slot no record overtakes another on its way. The memory is that of Flink's Java process.
"""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HEAP = "-Xmx2g"
LATEST = """
    SELECT kind, person, item, amount, overdue FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY kind, person, item ORDER BY arrival DESC) AS place FROM (
            SELECT SPLIT_INDEX(f0, ',', 0) AS kind, CAST(SPLIT_INDEX(f0, ',', 1) AS BIGINT) AS person, CAST(SPLIT_INDEX(f0, ',', 2) AS BIGINT) AS item,
                CAST(SPLIT_INDEX(f0, ',', 3) AS BIGINT) AS amount, CAST(SPLIT_INDEX(f0, ',', 4) AS BIGINT) AS overdue, PROCTIME() AS arrival
            FROM lines)
    ) WHERE place = 1"""
VIEWS = {
    "latest": LATEST,
    "income": "SELECT person, SUM(amount) AS income FROM latest WHERE kind = 'income' GROUP BY person",
    "loan": """SELECT person, SUM(amount) AS debt, SUM(CASE WHEN overdue > 90 THEN 1 ELSE 0 END) AS arrears
        FROM latest WHERE kind = 'loan' AND amount >= 0 GROUP BY person""",
    "by_person": """SELECT p.item AS household, p.amount AS child, COALESCE(i.income, 0) AS income, COALESCE(l.debt, 0) AS debt,
            COALESCE(l.arrears, 0) AS arrears
        FROM (SELECT * FROM latest WHERE kind = 'person') AS p LEFT JOIN income AS i ON p.person = i.person LEFT JOIN loan AS l ON p.person = l.person""",
    "by_household": """SELECT household, COUNT(*) AS members, SUM(child) AS children, SUM(income) AS income, SUM(debt) AS debt, SUM(arrears) AS arrears
        FROM by_person GROUP BY household""",
    "scored": """SELECT household,
            CASE WHEN income / members < 50000 THEN 30 WHEN income / members < 100000 THEN 20 WHEN income / members < 200000 THEN 10 ELSE 0 END
            + CASE WHEN children < 1 THEN 0 WHEN children < 4 THEN 5 ELSE 15 END
            + CASE WHEN debt / GREATEST(1, income) < 12 THEN 0 WHEN debt / GREATEST(1, income) < 36 THEN 5 ELSE 10 END
            + CASE WHEN arrears < 1 THEN 0 ELSE 10 END AS score
        FROM by_household""",
    "judged": """SELECT household, score,
            CASE WHEN score < 5 THEN 5 WHEN score < 15 THEN 4 WHEN score < 25 THEN 3 WHEN score < 40 THEN 2 ELSE 1 END AS category FROM scored""",
}
# Two adults of our own, who come last in every batch: one of changing income, one whose only loan is overdue or not.
EARNER, DEBTOR = 10**12, 10**12 + 1


def job(port):
    """What runs inside Flink, until the socket ends."""
    from pyflink.common import Configuration
    from pyflink.datastream import DataStream, StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment

    configuration = Configuration()
    configuration.set_string("execution.buffer-timeout.interval", "1 ms")
    configuration.set_string("pipeline.object-reuse", "true")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(1)
    tables = StreamTableEnvironment.create(environment)
    lines = DataStream(environment._j_stream_execution_environment.socketTextStream("127.0.0.1", port, "\n", 0))
    tables.create_temporary_view("lines", tables.from_data_stream(lines))
    for name, query in VIEWS.items():
        tables.execute_sql(f"CREATE TEMPORARY VIEW {name} AS {query}")
    tables.execute_sql("CREATE TEMPORARY TABLE told (household BIGINT, score INT, category INT) WITH ('connector' = 'print')")
    tables.execute_sql("INSERT INTO told SELECT * FROM judged").wait()


class Driver:
    def __init__(self):
        listener = socket.create_server(("127.0.0.1", 0))
        command = [sys.executable, __file__, "job", str(listener.getsockname()[1])]
        environment = {**os.environ, "JVM_ARGS": HEAP}
        self.job = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        self.records = listener.accept()[0]
        self.records.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rows, self.before, self.rich = {}, {}, False

    def batch(self, name, lines):
        self.rich = not self.rich
        lines = lines + [f"income,{EARNER},0,{1_000_000 * self.rich},0", f"loan,{DEBTOR},0,0,{100 * self.rich}"]
        text = "".join(line + "\n" for line in lines).encode()
        started = time.perf_counter()
        # By a thread of its own: Flink takes nothing in while what it tells is not read.
        sending = threading.Thread(target=self.records.sendall, args=(text,))
        sending.start()
        # An earner without children or debts has a score of 30 or none; a debtor without income 30, and 10 more if late. At the load neither is
        # what these two are before their income and loan are known.
        self.read_until({EARNER: 0 if self.rich else 30, DEBTOR: 40 if self.rich else 30})
        seconds = time.perf_counter() - started
        sending.join()
        self.tell(name, seconds)

    def read_until(self, wanted):
        for line in self.job.stdout:
            if line[:2] not in (b"+I", b"+U", b"-D"):
                continue
            household, score, category = map(int, line[3:-2].split(b","))
            if household >= EARNER:
                if wanted.get(household) == score and line[:1] == b"+":
                    del wanted[household]
                    if not wanted:
                        return
                continue
            self.before.setdefault(household, self.rows.get(household))
            if line[:1] == b"+":
                self.rows[household] = (score, category)
            else:
                del self.rows[household]
        raise SystemExit("Flink ended before the batch did")

    def tell(self, name, seconds):
        changed = sum(1 for household, before in self.before.items() if self.rows.get(household) != before)
        total = sum(household * (score * 10 + category + 1) for household, (score, category) in self.rows.items())
        print(json.dumps({"batch": name, "seconds": seconds, "changed": changed, "sum": total, "peak_bytes": self.peak_bytes()}), flush=True)
        self.before = {}

    def peak_bytes(self):
        """Of the Java process, which the job has started."""
        java = Path(f"/proc/{self.job.pid}/task/{self.job.pid}/children").read_text().split()[0]
        line = next(line for line in Path(f"/proc/{java}/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


def rows(path):
    with open(path, newline="") as file:
        yield from csv.DictReader(file)


def first(folder):
    """Whom a person belongs to and whether they are a child; incomes; loans."""
    people = [f"person,{row['person']},{row['parent'] or row['person']},{int(row['child'] == 'true')},0" for row in rows(folder / "person.csv")]
    incomes = [f"income,{row['person']},{row['source']},{row['amount']},0" for row in rows(folder / "income.csv")]
    loans = [f"loan,{row['person']},{row['contract']},{row['balance']},{row['overdue']}" for row in rows(folder / "loan.csv")]
    return people + [f"person,{person},{person},0,0" for person in (EARNER, DEBTOR)] + incomes + loans


def change(row):
    """A loan that is repaid is one of less than nothing."""
    kind, value = ("loan", -1) if row["kind"] == "repaid" else (row["kind"], row["value"])
    return f"{kind},{row['person']},{row['id']},{value},{row['overdue']}"


def main(folder):
    driver = Driver()
    try:
        driver.batch("load", first(folder))
        for path in sorted((folder / "batches").iterdir()):
            driver.batch(path.stem, [change(row) for row in rows(path)])
    finally:
        # It may not have ended by itself; nothing of it is needed any more.
        os.killpg(driver.job.pid, signal.SIGKILL)


if sys.argv[1] == "job":
    job(int(sys.argv[2]))
else:
    main(Path(sys.argv[1]))
