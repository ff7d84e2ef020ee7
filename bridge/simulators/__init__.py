"""Stand-ins for instruments and for the broker. They import nothing of the rest of bridge."""
