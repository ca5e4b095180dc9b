"""The command line `vision-relay`: what people need who send by the thousand, watch the app and are woken by it.

    cli.py            which commands there are
    commands/         the commands, one module each: options, help, what is printed, exit codes
    settings.py       settings from the environment or local.settings.json, as far as a command needs them
    output.py         where is printed, and the exit codes; progress.py: bars; describing.py: errors of storage
    storage.py        the queues: looked at, leased, reserved and released
    apis.py           what metadata images have, how trainings stand; probing.py: whether the APIs answer at all
    catalogue/        a file of rows: what it is, its columns, what is wrong with it, what it costs, its messages
    resumable_send.py `send`: every message exactly once; send_journal.py: how far a send has come
    verifying.py      `verify`
    __main__.py       where it begins, and how a signal ends it
    letters.py        a dead letter, which ones a filter means, what to do about one
    dead_letters.py   `dead-letters`: seen, moved, dropped
    watching.py       `watch --wait`; events.py: `events tail`
    status.py         `status`
    doctor.py         `doctor`

It knows `shared/` and nothing of the functions or the local cloud.
"""
