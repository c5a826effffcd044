"""Pathway: the rules as tables that follow from each other, kept up to date batch by batch.

pathway_peer.py FOLDER THREADS: reads what main.rs wrote there, and prints a JSON line for each batch: its name, seconds, changed households, and a sum over
all of them. One worker: with more the free edition was no faster here.
"""

import csv
import json
import os
import resource
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("PATHWAY_TELEMETRY_SERVER", "")
import pathway as pw  # noqa: E402

folder = Path(sys.argv[1])


class Change(pw.Schema):
    kind: str = pw.column_definition(primary_key=True)
    person: int = pw.column_definition(primary_key=True)
    item: int = pw.column_definition(primary_key=True)
    value: int
    overdue: int


class Told:
    """What is known of all households, and of the batch under way."""

    def __init__(self):
        self.rows, self.before, self.lock = {}, {}, threading.Condition()
        self.marked, self.ended = None, None

    def change(self, key, row, time, is_addition):
        household = row["household"]
        if household < 0:
            # The mark at the end of a batch.
            self.marked = time
            return
        self.before.setdefault(household, self.rows.get(household))
        if is_addition:
            self.rows[household] = (row["score"], row["category"])
        elif self.rows.get(household) == (row["score"], row["category"]):
            del self.rows[household]

    def time_end(self, time):
        with self.lock:
            self.ended = time
            self.lock.notify()

    def wait(self):
        """Until everything of the batch is known that was marked last."""
        with self.lock:
            self.lock.wait_for(lambda: self.marked is not None and self.ended is not None and self.ended >= self.marked)
            self.marked = None

    def tell(self, name, seconds):
        changed = sum(1 for household, before in self.before.items() if self.rows.get(household) != before)
        total = sum(household * (score * 10 + category + 1) for household, (score, category) in self.rows.items())
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"batch": name, "seconds": seconds, "changed": changed, "sum": total, "peak_bytes": memory}), flush=True)
        self.before = {}


told = Told()


def rows(path):
    with open(path, newline="") as file:
        yield from csv.DictReader(file)


class Changes(pw.io.python.ConnectorSubject):
    def batch(self, name, changes):
        self.serial = getattr(self, "serial", 0) + 1
        started = time.perf_counter()
        for kind, person, item, value, overdue in changes:
            if kind == "repaid":
                self.remove("loan", person, item)
            else:
                self.next(kind=kind, person=person, item=item, value=value, overdue=overdue)
        self.next(kind="mark", person=0, item=self.serial, value=0, overdue=0)
        self.commit()
        told.wait()
        told.tell(name, time.perf_counter() - started)

    def remove(self, kind, person, item):
        value, overdue = self.loans.pop((person, item))
        self.delete(kind=kind, person=person, item=item, value=value, overdue=overdue)

    def run(self):
        first = [("person", int(row["person"]), int(row["parent"] or row["person"]), int(row["child"] == "true"), 0) for row in rows(folder / "person.csv")]
        first += [("income", int(row["person"]), int(row["source"]), int(row["amount"]), 0) for row in rows(folder / "income.csv")]
        loans = [("loan", int(row["person"]), int(row["contract"]), int(row["balance"]), int(row["overdue"])) for row in rows(folder / "loan.csv")]
        self.loans = {(person, item): (value, overdue) for _, person, item, value, overdue in loans}
        self.batch("load", first + loans)
        for path in sorted((folder / "batches").iterdir()):
            changes = [(row["kind"], int(row["person"]), int(row["id"]), int(row["value"]), int(row["overdue"])) for row in rows(path)]
            self.loans.update({(person, item): (value, overdue) for kind, person, item, value, overdue in changes if kind == "loan"})
            self.batch(path.stem, changes)


changes = pw.io.python.read(Changes(session_type="upsert"), schema=Change, autocommit_duration_ms=None)
person = changes.filter(pw.this.kind == "person").select(pw.this.person, household=pw.this.item, child=pw.this.value)
income = changes.filter(pw.this.kind == "income").groupby(pw.this.person).reduce(pw.this.person, income=pw.reducers.sum(pw.this.value))
loan = changes.filter(pw.this.kind == "loan")
loan = loan.select(pw.this.person, pw.this.value, late=pw.if_else(pw.this.overdue > 90, 1, 0))
loan = loan.groupby(pw.this.person).reduce(pw.this.person, debt=pw.reducers.sum(pw.this.value), arrears=pw.reducers.sum(pw.this.late))
whole = person.join_left(income, pw.left.person == pw.right.person).select(
    pw.left.person, pw.left.household, pw.left.child, income=pw.coalesce(pw.right.income, 0)
)
whole = whole.join_left(loan, pw.left.person == pw.right.person).select(
    pw.left.household, pw.left.child, pw.left.income, debt=pw.coalesce(pw.right.debt, 0), arrears=pw.coalesce(pw.right.arrears, 0)
)
household = whole.groupby(pw.this.household).reduce(
    pw.this.household,
    members=pw.reducers.count(),
    children=pw.reducers.sum(pw.this.child),
    income=pw.reducers.sum(pw.this.income),
    debt=pw.reducers.sum(pw.this.debt),
    arrears=pw.reducers.sum(pw.this.arrears),
)


def bins(value, bounds, points):
    """The points of the first bound that a value is below, else the last."""
    result = points[-1]
    for bound, point in reversed(list(zip(bounds, points))):
        result = pw.if_else(value < bound, point, result)
    return result


scored = household.select(
    pw.this.household,
    score=bins(pw.this.income // pw.this.members, [50_000, 100_000, 200_000], [30, 20, 10, 0])
    + bins(pw.this.children, [1, 4], [0, 5, 15])
    + bins(pw.this.debt // pw.if_else(pw.this.income > 1, pw.this.income, 1), [12, 36], [0, 5, 10])
    + bins(pw.this.arrears, [1], [0, 10]),
)
judged = scored.select(pw.this.household, pw.this.score, category=bins(pw.this.score, [5, 15, 25, 40], [5, 4, 3, 2, 1]))
# What changes and the mark of its batch come out by one door, so that the end of a batch is known that changes nobody.
mark = changes.filter(pw.this.kind == "mark").select(household=-pw.this.item, score=0, category=0)
pw.io.subscribe(pw.Table.concat_reindex(judged, mark), on_change=told.change, on_time_end=told.time_end)
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
