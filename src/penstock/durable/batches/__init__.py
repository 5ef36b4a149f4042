"""OpenAI's batches on the task queue: a file of requests becomes tasks of the class batch, and what they leave becomes files."""
