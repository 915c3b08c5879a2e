#!/bin/sh
# SQLite: `id IN (…) AND name IN (…)`, where `name` has a unique index, looks up every pair of the two lists, and not each
# id once: an index has the rowid at its end, so both lists are keys of one search. With 1,000 ids and 2,000 names that is
# 2,000,000 searches of the index. EXISTS for the second list, or `+id`, makes it 1,000.
#
# Needs Python with sqlite3. Seen with SQLite 3.40.1.
set -eu
python3 - <<'PYTHON'
import sqlite3
import time

database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
database.executemany("INSERT INTO things VALUES (?, ?)", ((number, f"name-{number}") for number in range(100_000)))
ids = ", ".join(str(number) for number in range(0, 100_000, 100))
names = "SELECT 'name-' || value FROM (WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 50 FROM n LIMIT 2000) SELECT value FROM n)"
pairs = f"SELECT id FROM things WHERE id IN ({ids}) AND name IN ({names})"
each = pairs.replace("name IN", "+name IN")

def measure(statement: str) -> tuple[float, int]:
    began_s = time.process_time()
    found = len(database.execute(statement).fetchall())
    return time.process_time() - began_s, found

plan = [row[3] for row in database.execute("EXPLAIN QUERY PLAN " + pairs)]
(pairs_s, first), (each_s, second) = measure(pairs), measure(each)
print(sqlite3.sqlite_version, plan[0], f"pairs {pairs_s:.3f} s, each {each_s:.3f} s", first, second)
assert first == second == 1000
assert pairs_s > 10 * each_s
PYTHON
