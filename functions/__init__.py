"""One module per function: a binding, a call, an outcome."""
