"""Reading tasks: pages of a filter, one task with everything around it, and the words by which tasks are found."""
