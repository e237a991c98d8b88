/* SPDX-License-Identifier: GPL-2.0 */
/* Any that has every helper that we call: only ancient kernels compare it with their own. */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(6, 12, 0)
