"""Adds one to a number in a SQLite database, many times: increments.py DATABASE COUNT"""

import sqlite3
import sys

database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for _ in range(int(sys.argv[2])):
    database.execute("begin immediate")
    (number,) = database.execute("select number from t").fetchone()
    database.execute("update t set number = ?", (number + 1,))
    database.execute("commit")
