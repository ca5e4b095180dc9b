"""`python -m functions`: checks the app settings as the start does, and ends with 1 if the app could not start."""

import sys

try:
    import function_app  # noqa: F401  # which says what is wrong
except Exception:
    sys.exit(1)
print("The app can start with these settings.")
