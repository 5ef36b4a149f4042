"""The store's area `objects`: its tables and its statements."""
