"""`make chaos`: every promise about messages, put to the test under every fault at once, repeatably.

workload.py   the messages, as `local.account` makes them, and the trainings that are watched (pure, seeded)
schedule.py   which fault strikes when (pure, seeded)
tcp_proxy.py  the way to storage, which can be cut
injector.py   carries out the schedule and counts what really happened
faults.py     what struck, beside what had to strike
run.py        all of it, up to the account of every message
"""
