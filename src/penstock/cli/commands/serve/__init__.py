"""Commands that start a process, or prepare its store."""
