"""One file a command, by what a person wants: serve, work, manage, inspect."""
