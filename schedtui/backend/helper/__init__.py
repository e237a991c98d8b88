"""The only privileged code: a server that loads schedulers, samples the machine and runs workloads, and its client.

Everything here, and what it imports, needs only the standard library, msgspec and psutil, because it runs as
root, and as the agent inside the lab's guest.
"""
