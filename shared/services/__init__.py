"""Talks to the outside (the two APIs, the queues, the identity), and says what each response means."""
