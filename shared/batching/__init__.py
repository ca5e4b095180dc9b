"""Many callers, few calls: what waits, which batch goes next, what became of each image. Knows no service."""
