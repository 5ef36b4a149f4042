"""The process that executes tasks: claims them by lease, runs their kind, reports their completion."""
