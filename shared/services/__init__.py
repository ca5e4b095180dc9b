"""Talks to the outside: the two APIs, the queues, the identity. Nothing is decided here."""
