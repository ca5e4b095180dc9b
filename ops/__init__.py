"""The command line `vision-relay`: sends catalogues, shows the state of the app, and deals with its dead letters.

`commands/` has the commands: options, help, what is printed, exit codes. The modules beside it decide. `storage` and
`apis` reach the services; `catalogue/` reads a file of rows, checks it, estimates its cost, and makes messages of it.

It imports `shared/`, and neither the functions nor the local cloud. Imports go downwards only (`pyproject.toml`).
"""
