"""How many calls, how fast, how cheap: measured on the code that is deployed, beside what one would do without it.

cases.py      the cases in order, each a module below
calls.py      calls for a backlog, by number of keys and window
instances.py  instances that share one limit: goodput, 429s, fairness, cost
scaling.py    the same while instances stop and start
limits.py     the same beside a foreign client, with late calls, at low limits, while permits or storage are away
watches.py    one tick of the timer
cpu.py        CPU per message
telemetry.py  what telemetry adds to it
memory.py     memory per waiting message
lone.py       what a lone message waits beyond linger and call
http.py       real HTTP, beside other clients
whole_path.py queue to API on Azurite, beside a function that makes one call per message
validation.py the simulated clock against a real minute

virtual.py    an event loop whose time jumps
gateways.py   how an API may count calls
service.py    the simulated API under that loop
permits.py    the simulated queue of permits
fleet.py      instances on one limit
before.py     what the law before permits achieved, recorded
parts.py      the deployed parts, put together as the app does
load.py       messages to send, and a backlog that refills a window
peers.py      another way to keep to a limit
workers.py    the same function on both cores
results.py    figures, targets, and what counts as worse
machine.py    what it ran on
plots.py      the plots
report.py     docs/benchmarks.md
"""
