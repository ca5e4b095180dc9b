"""The commands, one module each: options and help, what is printed, the exit code. What they do is in `ops`."""
