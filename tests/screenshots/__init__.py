"""`python -m tests.screenshots`: what the commands show on a terminal, as the README has it."""
