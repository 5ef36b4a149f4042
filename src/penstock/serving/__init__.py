"""One request, in the order it passes: admission, scheduling, routing, the pipeline, usage, and why."""
