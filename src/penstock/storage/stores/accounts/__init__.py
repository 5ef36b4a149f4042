"""The store's area `accounts`: its tables and its statements."""
