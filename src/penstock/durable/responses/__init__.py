"""Answers of the Responses API that are kept: continued by later ones, or made in the background by a task."""
