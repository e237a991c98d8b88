"""A real sched_ext kernel in a QEMU micro-VM: finding a kernel, building the guest, booting, snapshots."""
