"""A small functions host for one machine.

It runs the queue and timer triggers of any app in the Python v2 programming model as the Azure Functions host does.
It is a development tool: `python -m local.host --help`.
"""
