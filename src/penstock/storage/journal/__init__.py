"""The usage journal: what was used is on this machine's disk before the bytes that it describes leave, even when the store is down.

Survives `kill -9` of the gateway (the pages belong to the kernel), not a power cut: nothing here waits for the disk.
"""
