"""Apache Flink SQL: the rules as views over the stream of records, kept up to date by Flink's own retractions, on one node with one slot.

flink_peer.py FOLDER THREADS: reads the batches that main.rs wrote there, and prints a line that says who tells, and a JSON line for each batch: its name,
seconds, changed households, and a sum over all of them. Records go to Flink by a socket, and what changes comes back by its `print` table. A batch has ended
when a household of our own has come out, of which the income changed last: with one slot no record overtakes another on its way. It need not look at
versions, since they come in order: that is to its advantage. Its mini-batches, which would save work in large batches, stay off: within one of them our
household may overtake others. The memory is that of Flink's Java process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

HEAP = "-Xmx4g"
LATEST = """
    SELECT register, person, item, `first`, `second`, third FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY register, person, item ORDER BY arrival DESC) AS place FROM (
            SELECT SPLIT_INDEX(f0, ',', 0) AS register, CAST(SPLIT_INDEX(f0, ',', 1) AS BIGINT) AS person, CAST(SPLIT_INDEX(f0, ',', 2) AS BIGINT) AS item,
                CAST(SPLIT_INDEX(f0, ',', 4) AS BIGINT) AS `first`, CAST(SPLIT_INDEX(f0, ',', 5) AS BIGINT) AS `second`,
                CAST(SPLIT_INDEX(f0, ',', 6) AS BIGINT) AS third, PROCTIME() AS arrival
            FROM lines)
    ) WHERE place = 1 AND `first` >= 0"""
# By register what a record adds to the sums of its household, and on which condition.
PARTS = {
    "person": {"members": "1", "children": "`first`"},
    "income": {
        "income": "`second`",
        "wages": "`second` IF `first` = 0",
        "business": "`second` IF `first` = 1",
        "rent": "`second` IF `first` = 2",
        "sources": "1",
        "small_incomes": "1 IF `second` < 30000",
    },
    "loan": {"debt": "`first`", "payments": "`second`", "loans": "1", "arrears": "1 IF third > 90", "overdue": "third"},
    "property": {
        "property": "`second`",
        "area": "third IF `first` = 0",
        "cars": "1 IF `first` = 1",
        "plots": "1 IF `first` = 2",
        "dear_things": "1 IF `second` >= 20000000",
    },
    "benefit": {"benefit": "`second`", "benefits": "1", "assistance": "1 IF `first` = 0", "pensions": "`second` IF `first` = 1"},
    "employment": {
        "jobs": "1",
        "hours": "`first`",
        "full_time_jobs": "1 IF `first` >= 40",
        "unofficial_jobs": "1 IF third = 0",
        "service": "`second`",
    },
    "study": {"studies": "1", "at_school": "1 IF `first` = 0", "fees": "`second`"},
    "health": {"disabilities": "1 IF `first` = 2", "sick_days": "`second`"},
}


def total(register, name, part):
    value, _, condition = part.partition(" IF ")
    return f"SUM(CASE WHEN register = '{register}'{condition and ' AND ' + condition} THEN {value} ELSE CAST(0 AS BIGINT) END) AS {name}"


SUMS = ", ".join(total(register, name, part) for register, parts in PARTS.items() for name, part in parts.items())
# Of the sums of a household the rules say the same in both dialects.
JUDGEMENT = (Path(__file__).parent / "rules.sql").read_text().split("-- What follows is of a household's sums alone.")[1].replace("//", "/")
VIEWS = {
    "latest": LATEST,
    "lives": """SELECT p.person, COALESCE(c.`first`, p.person) AS household
        FROM (SELECT * FROM latest WHERE register = 'person') AS p LEFT JOIN (SELECT * FROM latest WHERE register = 'parent') AS c ON p.person = c.person""",
    "owned": """SELECT household, register, `first`, `second`, third
        FROM (SELECT * FROM latest WHERE register <> 'parent') AS r JOIN lives AS l ON r.person = l.person""",
    # What somebody has may be told before they are.
    "by_household": f"SELECT * FROM (SELECT household, {SUMS} FROM owned GROUP BY household) WHERE members > 0",
    "judged": f"WITH {JUDGEMENT}",
}
# A household of our own, of one person who is said to be somebody's: their income comes last in every batch, and is much or nothing.
HOUSEHOLD, MEMBER = 2 * 10**12, 2 * 10**12 + 1
# Its score with much and with nothing, of which it has no other on the way from one to the other.
RICH, POOR = 79, 121


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
        text = "".join(line + "\n" for line in [*lines, f"income,{MEMBER},0,1,0,{1_000_000 * self.rich},0"]).encode()
        started = time.perf_counter()
        # By a thread of its own: Flink takes nothing in while what it tells is not read.
        sending = threading.Thread(target=self.records.sendall, args=(text,))
        sending.start()
        self.read_until(RICH if self.rich else POOR)
        seconds = time.perf_counter() - started
        sending.join()
        self.tell(name, seconds)

    def read_until(self, last):
        for line in self.job.stdout:
            if line[:2] not in (b"+I", b"+U", b"-U", b"-D"):
                continue
            household, score, category = map(int, line[3:-2].split(b","))
            if household >= HOUSEHOLD:
                if (household, score, line[:1]) == (HOUSEHOLD, last, b"+"):
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
        total = sum(household % 1000003 * (score * 10 + category + 1) for household, (score, category) in self.rows.items())
        print(json.dumps({"batch": name, "seconds": seconds, "changed": changed, "sum": total, "peak_bytes": self.peak_bytes()}), flush=True)
        self.before = {}

    def peak_bytes(self):
        """Of the Java process, which the job has started."""
        java = Path(f"/proc/{self.job.pid}/task/{self.job.pid}/children").read_text().split()[0]
        line = next(line for line in Path(f"/proc/{java}/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


def lines(path):
    """As they lie there; of a record that is deleted the first number is less than nothing."""
    for line in path.read_text().splitlines()[1:]:
        yield line.removesuffix(",,") + "-1,0,0" if line.endswith(",,,") else line


def main(folder):
    driver = Driver()
    print(json.dumps({"about": f"Apache Flink SQL {version('apache-flink')}, incremental, one slot, {HEAP}"}), flush=True)
    try:
        first, *batches = sorted(folder.iterdir())
        ours = [f"parent,{MEMBER},0,1,{HOUSEHOLD},0,0", f"person,{MEMBER},0,1,0,0,0"]
        driver.batch(first.stem, [*lines(first), *ours])
        for path in batches:
            driver.batch(path.stem, lines(path))
    finally:
        # It may not have ended by itself; nothing of it is needed any more.
        os.killpg(driver.job.pid, signal.SIGKILL)


if sys.argv[1] == "job":
    job(int(sys.argv[2]))
else:
    main(Path(sys.argv[1]))
