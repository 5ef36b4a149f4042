"""Tasks in the store. A thread to follow: `store.py` (a method a call), `enqueue.py`, `claim.py`, `finish.py`, `children.py`.

Statements are written once for both databases (`transaction.py`); the few that are not the same stand side by side in one file.
"""
