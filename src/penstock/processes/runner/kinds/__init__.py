"""Kinds of tasks (a family): a member runs the tasks of its name."""
