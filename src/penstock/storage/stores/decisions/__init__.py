"""The store's area `decisions`: its tables and its statements."""
