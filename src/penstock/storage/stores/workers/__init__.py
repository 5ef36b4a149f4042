"""The store's area `workers`: its tables and its statements."""
