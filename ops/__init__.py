"""The command line `vision-relay`: sends catalogues, shows the state of the app, and deals with its dead letters.

    __main__.py       starts it, and ends it at a signal
    cli.py            lists the commands
    commands/         the commands, one module each: options, help, what is printed, exit codes
    settings.py       reads the settings that a command needs
    output.py         prints, wraps lines, and has the exit codes
    progress_bar.py   shows progress
    storage.py        reads, leases and sends messages, and describes errors of storage
    apis.py           reads metadata and trainings; probing.py checks whether the APIs respond
    catalogue/        reads a file of rows, checks it, estimates its cost, and makes messages of it
    resumable_send.py `send`: every message exactly once; send_journal.py keeps its progress on disk
    verifying.py      `verify`: compares a catalogue with Custom Vision
    dead_letters.py   reads a dead letter, filters dead letters, advises what to do
    redriving.py      `dead-letters`: lists, redrives and drops them
    watching.py       `watch --wait`
    event_tail.py     `events tail`
    status.py         `status`: collects the state and finds what is wrong
    doctor.py         `doctor`: checks settings, rights, queues and APIs

It imports `shared/`, and neither the functions nor the local cloud. Imports go downwards only (`pyproject.toml`).
"""
