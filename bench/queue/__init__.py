"""The task queue: how many tasks a second, how soon one starts, and whether a million finished ones are felt.

Stores are what is measured, through the port that runners use; what HTTP costs on top is another measurement.
"""
