/* SPDX-License-Identifier: GPL-2.0 */
/* bcc includes it; our programs need nothing of it. */
#include <linux/types.h>
