"""The process that executes tasks: takes them by lease, runs their kind, says what became of them."""
