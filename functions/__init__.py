"""One module for each function: what triggers it, and what it calls."""
