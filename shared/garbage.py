"""How often Python looks for reference cycles in this process.

A waiting message is some twenty objects, so with ten thousand waiting the default (a look at the young ones after every
700 new objects, at all of them every hundredth time) costs half as much as all the rest. Messages leave no cycles
behind: reference counting frees them, and only errors with their tracebacks are left to look for.
"""

import gc

NEW_OBJECTS = 50_000
YOUNG_LOOKS = 20
FULL_LOOKS = 100


def look_less_often() -> None:
    """Leave everything that exists by now out of every further look, and look less often. Call once, after start-up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, YOUNG_LOOKS, FULL_LOOKS)
