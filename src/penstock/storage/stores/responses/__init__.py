"""The store's area `responses`: its tables and its statements."""
