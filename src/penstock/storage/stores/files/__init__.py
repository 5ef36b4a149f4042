"""The store's area `files`: its tables and its statements."""
