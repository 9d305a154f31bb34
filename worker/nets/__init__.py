"""Networks that no library ships: one architecture per file, built from its own ``config.json``."""
