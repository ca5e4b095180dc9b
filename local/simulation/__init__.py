"""A simulated Custom Vision, Face and Event Grid topic for one machine, with the identity that they let in.

It checks what the real services check, keeps what they keep, answers as they document, and can be told while it runs to
misbehave. It knows nothing of the app that calls it, so that it cannot repeat the app's mistakes.

    models.py         what can be told to the simulation and what it tells: the values of its control API
    answers.py        what goes back over the wire, including no answer at all
    calls.py          from an HTTP request to the operation it asks for
    custom_vision.py  the rules of UpdateImageMetadata
    iterations.py     the rules of GetIteration
    face.py           the rules of the training status
    event_grid.py     the rules of an Event Grid topic
    identity.py       the token endpoint of App Service, and whose tokens are taken
    trainings.py      a training as both services have it
    bucket.py         the rate limit
    faults.py         every kind of misbehaviour, and whether the call takes effect nevertheless
    gateway.py        what stands in front of an API: key, rate, outage, latency, faults
    counters.py       what was asked and how it was answered
    simulation.py     all of the above put together: a call in, a reply out
    app.py            the ASGI application
    control_api.py    its routes under /_control
    control.py        a typed client of those routes
    server.py         uvicorn, set up so that a connection can be broken on purpose
    process.py        the simulation as a child process
"""
