"""An account of every message of a run, for `make demo` and `make chaos`.

messages.py   the messages, and what must come of each (pure, seeded)
evidence.py   prepares the services, and collects what is found at the end
account.py    what came of every message, beside what had to come of it (pure)
report.py     the result, for a reader
"""
