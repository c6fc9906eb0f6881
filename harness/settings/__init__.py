"""Every setting: its type, its meaning, and what must arrive when it is set."""
