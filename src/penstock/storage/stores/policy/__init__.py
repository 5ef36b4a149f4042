"""The store's area `policy`: its tables and its statements."""
