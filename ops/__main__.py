"""`python -m ops` is `vision-relay`."""

from ops.cli import main

if __name__ == "__main__":
    main()
