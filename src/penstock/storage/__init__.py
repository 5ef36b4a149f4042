"""Where things are kept: the store, the usage journal, contents of files, shared counters."""
