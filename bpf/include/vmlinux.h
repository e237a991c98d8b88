/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The name under which most BPF sources look for the kernel's types: those of schedtui.bpf.h, without its kfuncs,
 * because a source that includes this file by itself declares its own.
 */
#define SCHEDTUI_TYPES_ONLY
#include "schedtui.bpf.h"
#undef SCHEDTUI_TYPES_ONLY
