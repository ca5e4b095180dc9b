"""How instances share one limit without knowing of one another: by permits, which are messages in a queue.

The queue holds as many permits as calls may go in a period, such as ten in a second. An instance that receives a permit
makes one call with it in each period, for some seconds, its *turn*. It puts the permit back three quarters of a period
after its last call, and the next holder waits for the last quarter. So n permits never make more than n calls in any
period, whether the API counts in fixed or sliding windows.

* A permit is received for longer than a turn. If its holder dies, the permit becomes visible again after that.
* A permit carries the average time for which its receivers waited. An instance that had to wait for its last permit
  waits for 85 % of that time before it asks for the next. An instance that did not have to wait asks at once.
* After a 429 a permit rests: at least for `Retry-After`, and each time twice as long on average, which makes room for
  other callers. The length is random, so that permits that were refused together do not come back together.

See `docs/limit.md` for more reasons, and for what happens while storage is away.
"""

import json
import math
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

TURN_SECONDS = 6.0
"""If longer, the permits of a killed instance are missed for longer. If shorter, handing over costs more."""
SPREAD = 0.85  # to which turns and waits for requests are shortened at random, so that instances do not stay in step
APART, APART_AFTER_REFUSAL = 1.015, 1.045
"""Periods between two calls of a permit: a second and 15 ms at ten calls a second, for the network's jitter."""
NETWORK_DOUBLINGS = 3  # up to so many, the network may be the reason
KEPT = 0.75
"""By then a call has its response, so that a 429 is known before its permit goes back. The rest of the period is time
to receive one's own permit again."""
REQUEST_SECONDS = 0.28  # between two requests for a permit: this bounds the storage operations to 15,000 an hour
PATIENCE = 0.85  # of the average wait, then the next is asked for: more is fairer, 1 would last for ever
BELIEVED_WAITS = 1.5
"""An average wait is believed up to so many times this instance's own wait, and a turn: instances that share fairly
wait about equally long. So nobody can stop an instance by what he writes into a permit."""
HEAD_START_SECONDS = 0.035  # so much later for each other instance, one asks for what one has put back oneself
MAX_DOUBLINGS = 6
FORGIVEN_AFTER = 100  # successes undo a doubling: the network alone has fewer than 1 % of the calls refused
MAX_PERMITS = 32  # a request can receive no more (Azure Storage, "Get Messages")
NEW_PERMIT = "{}"


def permits_for(calls_per_second: float) -> tuple[int, float]:
    """How many permits a limit has, and their period in seconds.

    The period is the shortest whole number of seconds, up to four, with a whole number of calls (2.5 a second: five in
    2 s). Else permits are rounded up and the period with them, which is the same rate (9.7: ten in 1.03 s; a seventh:
    one in 7 s), for parts of a second if they were more than `MAX_PERMITS` (40: 20 in 0.5 s).
    """
    for seconds in (1, 2, 3, 4):
        calls = round(calls_per_second * seconds)
        if 0 < calls <= MAX_PERMITS and abs(calls - calls_per_second * seconds) <= 0.02:  # settings have two decimals
            return calls, calls / calls_per_second
    permits = math.ceil(calls_per_second / math.ceil(calls_per_second / MAX_PERMITS))
    return permits, permits / calls_per_second


class Message(Protocol):
    """A permit as it is received from the queue."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def dequeue_count(self) -> int: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102


@dataclass(slots=True, eq=False)
class Permit:
    """A permit while it is held. It carries four fields from one holder to the next, from `doublings` on."""

    message: Message
    doublings: float = 0.0  # of its rest after the next 429
    mean_wait: float = 0.0  # for which its receivers waited, in seconds
    refused_at: int = 0  # when a call with it was last refused with 429, in seconds since 1970; 0 if none was
    resource: str = ""  # stands for the API's resource that its holder calls
    next_at: float = field(init=False)  # when its next call may go
    ends_at: float = field(init=False)  # the end of its turn, after which no call goes
    ask_back_at: float = math.inf  # when to ask for it again once it has gone back

    @property
    def text(self) -> str:
        """What it carries, as `read_permit` reads it."""
        carried = {"doublings": round(self.doublings, 3), "meanWaitSeconds": round(self.mean_wait, 3)}
        return json.dumps({**carried, "refusedAt": self.refused_at, "resource": self.resource})


def read_permit(message: Message) -> Permit:
    """Read what a permit carries: nothing, where its text is not possible."""
    with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError):
        read = json.loads(message.body)
        doublings, mean_wait = float(read["doublings"]), float(read["meanWaitSeconds"])
        if 0 <= doublings <= MAX_DOUBLINGS and 0 <= mean_wait < math.inf:
            return Permit(message, doublings, mean_wait, int(read.get("refusedAt", 0)), str(read.get("resource", "")))
    return Permit(message)


class Permits:
    """What one instance does with its permits, and when; `services.permit_queue` does the I/O.

    Raises `ValueError` unless `calls_per_second` is positive and finite.
    """

    def __init__(self, calls_per_second: float, rng: random.Random | None = None) -> None:
        if not 0 < calls_per_second < math.inf:
            raise ValueError("calls_per_second must be positive and finite")
        self.number, self._period = permits_for(calls_per_second)
        self._rest_of_period = (1 - KEPT) * APART * self._period
        self.lease_seconds = math.ceil(TURN_SECONDS + KEPT * APART_AFTER_REFUSAL * self._period + 1)
        """A turn, the time after its last call, and a second, since storage may end a lease at a whole second."""
        self._rng = rng or random.Random()  # noqa: S311 (it spreads requests and protects nothing)
        self._wanted = 0
        self._held: list[Permit] = []
        self._put_back: dict[str, Permit] = {}  # by id, until they are received again
        self._mean_wait = 0.0
        self._doublings = 0.0  # of the permits that were refused here last, on average
        self._silent_until = self._waiting_since = self._ask_at = self._last_call_at = -math.inf
        self._asked_in_vain = self._is_asking = False

    @property
    def share(self) -> float:
        """The part of the limit that is held, from 0 to 1."""
        return len(self._held) / self.number

    def want(self, calls: int, now: float) -> None:
        """Set how many calls wait. With 0, all permits go back and none is asked for."""
        was_content = len(self._held) >= self._wanted
        self._wanted = min(calls, self.number)
        if was_content and len(self._held) < self._wanted:
            self._waiting_since = self._ask_at = now

    def ready_at(self, now: float) -> float:
        """When the next call may go; infinity while there is no permit for it. Calls go at even intervals."""
        usable = self._usable(now)
        due = usable[0].next_at if usable else math.inf
        return max(now, due, self._silent_until, self._last_call_at + self._period / self.number)

    def take(self, now: float) -> Permit:
        """Use a permit for a call that goes now. Raises `RuntimeError` before `ready_at`."""
        if self.ready_at(now) > now:
            raise RuntimeError("there is no permit for a call yet")
        self._last_call_at = now
        permit = self._usable(now)[0]
        apart = APART_AFTER_REFUSAL if 0 < permit.doublings <= NETWORK_DOUBLINGS else APART
        permit.next_at = now + apart * self._period
        return permit

    def succeeded(self, permit: Permit) -> None:
        """Take note that the call with this permit was not refused with 429."""
        permit.doublings = max(0.0, permit.doublings - 1 / FORGIVEN_AFTER)
        self._doublings = max(0.0, self._doublings - 1 / FORGIVEN_AFTER)

    def limited(self, permit: Permit, retry_after_seconds: float | None, now: float) -> None:
        """Take note that the call with this permit was refused with 429. One that has gone back stays as it is.

        If `Retry-After` is longer than a lease, all permits go back, and no call goes until it has passed.
        """
        asked = retry_after_seconds or 0.0
        if asked > self.lease_seconds:
            self._silent_until = self._waiting_since = max(self._silent_until, now + asked)
        own, known = permit.doublings, max(permit.doublings, self._doublings)
        rest = self._rng.expovariate(1 / 2.0**known)
        permit.next_at = max(permit.next_at, now + max(rest, asked))
        permit.doublings = min(MAX_DOUBLINGS, known + 1)
        self._doublings = (self._doublings + own + 1) / 2  # not what is known: each of a burst would add to the next

    def next_step_at(self, now: float) -> float:
        """When `leaving` or `to_ask` has to be called next; infinity if never."""
        return min([self._next_request_at(), *(at for _, at in self._ends(now))])

    def leaving(self, now: float) -> list[tuple[Permit, int]]:
        """Give up the permits that go back now. Each comes with the whole seconds for which it stays invisible."""
        leaving = [permit for permit, at in self._ends(now) if at <= now]
        if len(self._held) >= self._wanted:
            self._waiting_since = max(now, self._silent_until)
        self._held = [permit for permit in self._held if permit not in leaving]
        rests = [permit.next_at - self._rest_of_period - now for permit in leaving]
        # an invisibility may end at a whole second, which is up to one less
        return [(permit, math.ceil(rest) + 1 if rest > 0 else 0) for permit, rest in zip(leaving, rests, strict=True)]

    def gone_back(self, permit: Permit, unseen_seconds: int, now: float) -> None:
        """Take note that a permit is in the queue again."""
        self._put_back[permit.message.id] = permit
        if not unseen_seconds:
            instances = self._mean_wait * self.number / TURN_SECONDS
            permit.ask_back_at = now + HEAD_START_SECONDS * instances

    def to_ask(self, now: float) -> int:
        """How many permits to ask for now, 0 for none. `received` or `failed` has to follow."""
        if self._next_request_at() > now:
            return 0
        own = [permit for permit in self._put_back.values() if permit.ask_back_at <= now]
        for permit in own:
            permit.ask_back_at = math.inf
        self._is_asking = True
        return min(self._wanted - len(self._held), max(1, len(own)))

    def received(self, messages: Sequence[Message], asked_at: float, now: float) -> list[Permit]:
        """Hold the permits that were received by a request which was sent at `asked_at`."""
        self._is_asking = False
        permits = [self._hold(message, asked_at, now) for message in messages]
        others_wait = not messages or self._asked_in_vain
        self._asked_in_vain = not messages
        patience = self._waiting_since + PATIENCE * self._mean_wait if others_wait else now
        self._ask_at = max(patience, now + REQUEST_SECONDS * self._rng.uniform(SPREAD, 1.0))
        return permits

    def failed(self, now: float) -> None:
        """Take note of a request that failed."""
        self._is_asking = False
        self._waiting_since = now  # for storage, and not for others
        self._ask_at = now + 1 / self._rng.uniform(SPREAD, 1.0)

    def _usable(self, now: float) -> list[Permit]:
        """Those that another call can go with, the next one first."""
        usable = [permit for permit in self._held if now < permit.ends_at and permit.next_at <= permit.ends_at]
        return sorted(usable, key=lambda permit: permit.next_at)

    def _ends(self, now: float) -> list[tuple[Permit, float]]:
        """Until when each permit is held: to the end of its turn, or until its next call is near.

        It is the latter where its turn is over or fewer are wanted. If that call is far away, it goes back at once.
        """
        kept = [] if now < self._silent_until else self._usable(now)[: self._wanted]

        def end(permit: Permit) -> float:
            if permit in kept:
                return permit.ends_at
            ends_at = permit.next_at - self._rest_of_period
            return ends_at if ends_at < permit.ends_at + self._period else -math.inf

        return [(permit, end(permit)) for permit in self._held]

    def _next_request_at(self) -> float:
        if self._is_asking or len(self._held) >= self._wanted:
            return math.inf
        ask_back_at = (permit.ask_back_at for permit in self._put_back.values())
        return max(self._silent_until, min([self._ask_at, *ask_back_at]))

    def _hold(self, message: Message, asked_at: float, now: float) -> Permit:
        own = self._put_back.pop(message.id, None)
        next_at = now + self._rest_of_period
        if own is not None and message.dequeue_count == own.message.dequeue_count + 1:
            next_at = max(now, own.next_at)
        permit = read_permit(message)
        wait = now - self._waiting_since
        self._waiting_since = now
        mean_wait = min(permit.mean_wait, BELIEVED_WAITS * wait + TURN_SECONDS)
        self._mean_wait = mean_wait or wait
        permit.mean_wait = (mean_wait + wait) / 2
        permit.next_at = next_at
        permit.ends_at = asked_at + TURN_SECONDS * self._rng.uniform(SPREAD, 1.0)
        self._held.append(permit)
        return permit
