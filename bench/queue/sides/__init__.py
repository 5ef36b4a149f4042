"""Our queue and its rivals, each as a pair of programs: workers, and a driver that submits to them.

A rival's pair runs in an environment of its own, where there is nothing of ours: these files are run by their paths, and import only
each other and the rival.
"""
