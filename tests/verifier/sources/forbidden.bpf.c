/* SPDX-License-Identifier: GPL-2.0 */
/* Everything that no policy may hold, around a scheduler that does nothing: one of each rule of the object stage. */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "MIT";

extern int LINUX_KERNEL_VERSION __kconfig;
extern const struct rq runqueues __ksym __weak;
struct file *bpf_get_task_exe_file(struct task_struct *p) __ksym __weak;
void *bpf_rdonly_cast(const void *obj, u32 type) __ksym __weak;

u64 leaked;
u8 huge[80 << 20];

struct {
	__uint(type, 3); /* a program array */
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} kept SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 300000);
	__type(key, u32);
	__type(value, u64);
} many SEC(".maps");

struct task {
	u8 all[32 << 10];
};
TASK_STATE(tasks, struct task);

__attribute__((constructor)) void bomb(void)
{
	leaked = LINUX_KERNEL_VERSION;
}

SEC("syscall")
int from_outside(void *context)
{
	return bpf_send_signal(9);
}

void BPF_STRUCT_OPS(forbidden_enqueue, struct task_struct *p, u64 enq_flags)
{
	bpf_probe_read_kernel(&leaked, sizeof(leaked), (void *)p);
	leaked += *(u64 *)bpf_rdonly_cast(p, 0);
	leaked += (u64)bpf_get_task_exe_file(p);
	leaked += (u64)&runqueues + huge[p->pid];
	bpf_map_delete_elem(&many, &p->pid);
	bpf_map_delete_elem(&kept, &p->pid);
	bpf_tail_call(p, &calls, 0);
	task_state(&tasks, p);
}

SCX_OPS_DEFINE(forbidden, .enqueue = (void *)forbidden_enqueue, .timeout_ms = 60000, .name = "forbidden");
