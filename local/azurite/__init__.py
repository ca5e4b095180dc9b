"""Azurite, the emulator of Azure Storage, on this machine: its queue service alone.

The folder no-telemetry stands in for the telemetry library that Azurite would load: it is two thirds of the download
and, since telemetry is switched off here, never used.
"""

from local.azurite.server import Azurite

__all__ = ["Azurite"]
