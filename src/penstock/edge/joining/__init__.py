"""The signed calls of workers and runners."""
