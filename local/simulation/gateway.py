"""What stands in front of one API: its key, rate, outage, latency and faults, and what it counted."""

import hmac
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Generic, Self, TypeVar

from local.simulation.answers import Reply
from local.simulation.bucket import TokenBucket
from local.simulation.counters import LATENCY, OUTAGE, WRONG_KEY, CallCounters
from local.simulation.faults import REFUSALS, FaultPlan, Refusal, rate_limited, wrong_key
from local.simulation.identity import Identity
from local.simulation.models import Api, FaultSetting, KeyChange, Latency, Outage, Rate

T = TypeVar("T")

KEY_HEADER: Mapping[Api, str] = {
    Api.CUSTOM_VISION: "training-key",
    Api.FACE: "ocp-apim-subscription-key",
    Api.EVENT_GRID: "aeg-sas-key",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What clients may show: each API's key, or, if there is one, a bearer token that all take.

    `identity_header` is what the app shows to the token endpoint.
    """

    custom_vision_key: str = field(repr=False)
    face_key: str = field(repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    event_grid_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    identity_header: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def key(self, api: Api) -> str:
        """The key of an API."""
        keys = {
            Api.CUSTOM_VISION: self.custom_vision_key,
            Api.FACE: self.face_key,
            Api.EVENT_GRID: self.event_grid_key,
        }
        return keys[api]


class Gateway:
    """The gateway of one API. Times are in seconds and do not go back."""

    def __init__(self, api: Api, credentials: Credentials, identity: Identity, now: float) -> None:
        self.api = api
        self._identity = identity
        self.counters = CallCounters()
        self._credentials = credentials
        self._changed_key: _Lasting[KeyChange] | None = None
        self._outage: _Lasting[Outage] | None = None
        self.set_rate(Rate(calls_per_second=None) if api is Api.EVENT_GRID else Rate(), now)
        self.set_latency(Latency())
        self.set_faults(FaultSetting())

    def set_rate(self, rate: Rate, now: float) -> None:
        """Limit the calls, or no longer; the new bucket is full."""
        self._bucket = _bucket(rate, now)

    def set_latency(self, latency: Latency) -> None:
        """Delay calls from now on."""
        self._latency = latency
        self._latency_random = Random(latency.seed)  # noqa: S311 - repeatable on purpose

    def set_faults(self, setting: FaultSetting) -> None:
        """Misbehave from now on in this way, and in no other.

        Raises:
            ValueError: this API cannot have such a fault.
        """
        self.faults = FaultPlan(self.api, setting)

    def set_outage(self, outage: Outage | None, now: float) -> None:
        """Begin an outage, or end it.

        Raises:
            ValueError: calls of such a kind would take effect, which those of an outage must not.
        """
        if outage is not None and outage.kind not in REFUSALS:
            raise ValueError(f"an outage cannot be of the kind {outage.kind}: calls would take effect")
        self._outage = None if outage is None else _Lasting.of(outage, outage.seconds, now)

    def change_key(self, change: KeyChange | None, now: float) -> None:
        """Accept another key or none; without a change, the original one again."""
        self._changed_key = None if change is None else _Lasting.of(change, change.seconds, now)

    def turn_away(self, headers: Mapping[str, str], now: float) -> Reply | None:
        """What a call gets that does not come past the gateway, None if it does."""
        if self._outage is not None and self._outage.holds(now):
            self.counters.faults[OUTAGE] += 1
            outage = self._outage.value
            return REFUSALS[outage.kind](Refusal(self.api, outage.retry_after_seconds, now))
        if not self._is_authorized(headers, now):
            return wrong_key(Refusal(self.api, 0, now))
        if self._bucket is not None and (wait_seconds := self._bucket.take(now)):
            self.counters.rate_limited += 1
            return rate_limited(wait_seconds)
        return None

    def draw_latency(self) -> float:
        """Seconds to delay the next call by."""
        latency = self._latency
        if not latency.seconds and not latency.jitter_seconds:
            return 0.0
        if self._latency_random.random() >= latency.share:
            return 0.0
        self.counters.faults[LATENCY] += 1
        return latency.seconds + self._latency_random.uniform(0, latency.jitter_seconds)

    def _is_authorized(self, headers: Mapping[str, str], now: float) -> bool:
        token = self._credentials.bearer_token
        authorization = headers.get("authorization", "")
        if _shows(authorization, None if token is None else f"Bearer {token}"):
            return True
        if authorization:
            return self._identity.takes(authorization.removeprefix("Bearer "), self.api, now)
        change = self._changed_key
        if change is None or not change.holds(now):
            return _shows(headers.get(KEY_HEADER[self.api]), self._credentials.key(self.api))
        if _shows(headers.get(KEY_HEADER[self.api]), change.value.key):
            return True
        self.counters.faults[WRONG_KEY] += 1
        return False


def _bucket(rate: Rate, now: float) -> TokenBucket | None:
    if rate.calls_per_second is None:
        return None
    one_seconds_worth = max(1.0, rate.calls_per_second)
    return TokenBucket(rate.calls_per_second, rate.burst or one_seconds_worth, now)


def _shows(shown: str | None, accepted: str | None) -> bool:
    if shown is None or accepted is None:
        return False
    return hmac.compare_digest(shown.encode(), accepted.encode())


@dataclass(frozen=True, slots=True)
class _Lasting(Generic[T]):
    """Something that holds for a time, or until it is taken back."""

    value: T
    until: float

    @classmethod
    def of(cls, value: T, seconds: float | None, now: float) -> Self:
        return cls(value, math.inf if seconds is None else now + seconds)

    def holds(self, now: float) -> bool:
        return now < self.until
