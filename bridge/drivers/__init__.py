"""Device protocols as state machines without I/O: one file per device type."""
