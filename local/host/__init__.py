"""A small functions host for one machine.

It runs the queue and timer triggers of any app in the Python v2 programming model as the Azure Functions host does.
It is a development tool: `python -m local.host --help`. Where storage refuses for longer than the client's six tries,
or refuses a delete, it ends, as the Azure host does, and whoever runs it starts it again.

It differs on purpose in these points:

* host and worker are one process: a lost worker is a restart, and what was executing goes on until then;
* a timer runs in one host by a file's lock, not by a blob's lease;
* a lease can be shorter than ten minutes, by `LOCAL_HOST_LEASE_SECONDS`;
* of the bindings it knows the queue trigger and the timer.
"""
