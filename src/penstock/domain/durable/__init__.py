"""The words of work that must not be lost: tasks, batches, files, kept responses, streams."""
