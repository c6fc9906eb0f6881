"""Windows of a process that lives long: any number, each a run folder, asked for while it runs."""
