/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bcc wants a kernel's headers. Our programs read nothing but tracepoints, whose layout the running kernel describes
 * itself; these few lines are all that bcc's own text needs besides, so no package with headers has to be installed.
 */
#define CONFIG_BPF_SYSCALL 1
