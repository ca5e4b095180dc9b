"""`make chaos`: every promise about messages, put to the test under every fault at once, repeatably.

workload.py   the messages, and what has to come of each (pure, seeded)
schedule.py   which fault failed_attempts when (pure, seeded)
relay.py      the way to storage, which can be cut
injector.py   carries out the schedule and counts what really happened
account.py    what came of every message, beside what had to come of it (pure)
report.py     the result, for a reader
"""
