"""Azurite, the emulator of Azure Storage, on this machine: its queue service alone."""

from local.azurite.server import Azurite

__all__ = ["Azurite"]
