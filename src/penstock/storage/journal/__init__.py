"""The usage journal: what was used is on this machine's disk before the bytes that it describes leave, whatever becomes of the store.

Survives `kill -9` of the gateway (the pages belong to the kernel), not a power cut: nothing here waits for the disk.
"""
