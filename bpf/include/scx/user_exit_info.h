/* SPDX-License-Identifier: GPL-2.0 */
/* The name under which most sched_ext sources look for what schedtui.bpf.h holds. */
#include "../schedtui.bpf.h"
