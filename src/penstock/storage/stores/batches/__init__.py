"""The store's area `batches`: its tables and its statements."""
