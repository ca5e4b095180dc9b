"""Coverage-guided fuzzing of the message entrance; not part of `make test`, which has hypothesis for that."""
