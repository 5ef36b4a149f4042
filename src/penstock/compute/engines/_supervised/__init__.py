"""A server beside the worker: started, watched, logged, and never left behind."""
