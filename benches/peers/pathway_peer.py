"""Pathway: the rules as tables that follow from each other, kept up to date batch by batch; points are read from the policy package.

pathway_peer.py FOLDER THREADS: reads the batches that main.rs wrote there, and prints a line that says who tells, and a JSON line for each batch: its name,
seconds, changed households, and a sum over all of them. One worker: with more the free edition was no faster here. It need not look at versions, since they
come in order: that is to its advantage.
"""

import csv
import json
import os
import resource
import sys
import threading
import time
import tomllib
from pathlib import Path

os.environ.setdefault("PATHWAY_TELEMETRY_SERVER", "")
import pathway as pw  # noqa: E402

folder = Path(sys.argv[1])
package = Path(__file__).parent / "package"


# What is said of what is deleted: the key alone counts.
NOTHING = (0, 0, 0)


class Record(pw.Schema):
    register: str = pw.column_definition(primary_key=True)
    person: int = pw.column_definition(primary_key=True)
    item: int = pw.column_definition(primary_key=True)
    first: int
    second: int
    third: int


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
        total = sum(household % 1000003 * (score * 10 + category + 1) for household, (score, category) in self.rows.items())
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"batch": name, "seconds": seconds, "changed": changed, "sum": total, "peak_bytes": memory}), flush=True)
        self.before = {}


told = Told()


def records(path):
    """Keys, and what is said; of what is deleted nothing."""
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            said = [int(row[word]) for word in ("first", "second", "third")] if row["first"] else None
            yield (row["register"], int(row["person"]), int(row["item"])), said


class Records(pw.io.python.ConnectorSubject):
    def batch(self, name, records):
        started = time.perf_counter()
        for key, said in records:
            self.say(self.next if said else self.delete, key, said or NOTHING)
        self.say(self.next, ("mark", 0, self.marks), NOTHING)
        self.commit()
        told.wait()
        told.tell(name, time.perf_counter() - started)
        self.marks += 1

    def say(self, how, key, said):
        (register, person, item), (first, second, third) = key, said
        how(register=register, person=person, item=item, first=first, second=second, third=third)

    def run(self):
        self.marks = 1
        for path in sorted(folder.iterdir()):
            self.batch(path.stem, list(records(path)))


said = pw.io.python.read(Records(session_type="upsert"), schema=Record, autocommit_duration_ms=None)
person = said.filter(pw.this.register == "person")
parent = said.filter(pw.this.register == "parent")
lives = person.join_left(parent, pw.left.person == pw.right.person).select(
    pw.left.person, household=pw.coalesce(pw.right.first, pw.left.person)
)


def when(condition, value):
    return pw.if_else(condition, value, 0)


first, second, third = pw.this.first, pw.this.second, pw.this.third
# By register what a record adds to the sums of its household.
PARTS = {
    "person": {"members": 1, "children": first},
    "income": {
        "income": second,
        "wages": when(first == 0, second),
        "business": when(first == 1, second),
        "rent": when(first == 2, second),
        "sources": 1,
        "small_incomes": when(second < 30_000, 1),
    },
    "loan": {"debt": first, "payments": second, "loans": 1, "arrears": when(third > 90, 1), "overdue": third},
    "property": {
        "property": second,
        "area": when(first == 0, third),
        "cars": when(first == 1, 1),
        "plots": when(first == 2, 1),
        "dear_things": when(second >= 20_000_000, 1),
    },
    "benefit": {"benefit": second, "benefits": 1, "assistance": when(first == 0, 1), "pensions": when(first == 1, second)},
    "employment": {
        "jobs": 1,
        "hours": first,
        "full_time_jobs": when(first >= 40, 1),
        "unofficial_jobs": when(third == 0, 1),
        "service": second,
    },
    "study": {"studies": 1, "at_school": when(first == 0, 1), "fees": second},
    "health": {"disabilities": when(first == 2, 1), "sick_days": second},
}


def sums_of(register):
    parts = PARTS[register]
    owned = said.filter(pw.this.register == register).join(lives, pw.left.person == pw.right.person)
    owned = owned.select(pw.right.household, pw.left.first, pw.left.second, pw.left.third).select(pw.this.household, **parts)
    return owned.groupby(pw.this.household).reduce(pw.this.household, **{name: pw.reducers.sum(pw.this[name]) for name in parts})


sums, *others = [sums_of(register) for register in PARTS]
for other in others:
    names = [name for name in other.column_names() if name != "household"]
    sums = sums.join_left(other, pw.left.household == pw.right.household).select(
        *pw.left, **{name: pw.coalesce(pw.right[name], 0) for name in names}
    )


def at_least_one(number):
    return pw.if_else(number > 1, number, 1)


income, members = at_least_one(pw.this.income), pw.this.members
# Whatever has no line here is the sum of its name.
quotients = {
    "household_size": members,
    "income_per_head": pw.this.income // members,
    "earned_share": pw.this.wages * 100 // income,
    "business_income": pw.this.business,
    "rent_income": pw.this.rent,
    "months_of_debt": pw.this.debt // income,
    "payment_share": pw.this.payments * 100 // income,
    "overdue_per_loan": pw.this.overdue // at_least_one(pw.this.loans),
    "property_per_head": pw.this.property // members,
    "area_per_head": pw.this.area // members,
    "benefits_per_head": pw.this.benefit // members,
    "pension_share": pw.this.pensions * 100 // income,
    "hours_per_head": pw.this.hours // members,
    "service_per_job": pw.this.service // at_least_one(pw.this.jobs),
    "fees_per_head": pw.this.fees // members,
    "sick_days_per_head": pw.this.sick_days // members,
}


def points(value, bins):
    """Those of the bin that a value is in; bins are written as `from..to`, in order."""
    *bins, (_, result) = bins.items()
    for bounds, point in reversed(bins):
        result = pw.if_else(value < int(bounds.split("..")[1]), point, result)
    return result


criteria = tomllib.loads((package / "criteria.toml").read_text()).values()
category = tomllib.loads((package / "categories.toml").read_text())["category"]
indicators = sums.select(pw.this.household, **{by: quotients.get(by, pw.this[by]) for by in (criterion["by"] for criterion in criteria)})
scored = indicators.select(pw.this.household, score=sum(points(pw.this[criterion["by"]], criterion["points"]) for criterion in criteria))
judged = scored.select(pw.this.household, pw.this.score, category=points(pw.this.score, category["bins"]))
# What changes and the mark of its batch come out by one door, so that the end of a batch is known that changes nobody.
mark = said.filter(pw.this.register == "mark").select(household=-pw.this.item, score=0, category=0)
pw.io.subscribe(pw.Table.concat_reindex(judged, mark), on_change=told.change, on_time_end=told.time_end)
print(json.dumps({"about": f"Pathway {pw.__version__}, incremental, one worker"}), flush=True)
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
