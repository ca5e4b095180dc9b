"""The command line `vision-relay`: what people need who send by the thousand, watch the app and are woken by it.

    cli.py            the commands: their options, help and exit codes; nothing else
    options.py        options that several commands have
    settings.py       settings from the environment or local.settings.json, as far as a command needs them
    output.py         what is printed and where, and the exit codes
    running.py        from a command to its coroutine and back to an exit code
    storage.py        the queues: peek, lease, reserve, release
    catalogue/        a file of rows: its columns, its rows, what is wrong with them, all of it in a scratch database
    plan.py           which messages a file becomes, how long they take, and how far a send has come
    sending.py        `send`
    image_reader.py   what metadata Custom Vision says that images have
    verifying.py      `verify`
    letters.py        a dead letter, and which ones a filter means
    dead_letters.py   `dead-letters`
    watching.py       `watch` and `events tail`
    status.py         `status`
    doctor.py         `doctor`

It knows `shared/` and nothing of the functions or the local cloud.
"""
