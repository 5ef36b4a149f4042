"""The store's area `catalog`: its tables and its statements."""
