/* SPDX-License-Identifier: GPL-2.0 */
/* The few types that bcc's own headers name. */
#ifndef SCHEDTUI_TYPES_H
#define SCHEDTUI_TYPES_H

typedef unsigned char __u8, u8, uint8_t;
typedef unsigned short __u16, u16, uint16_t, __be16, __le16, __sum16;
typedef unsigned int __u32, u32, uint32_t, __be32, __le32, __wsum;
typedef unsigned long long __u64, u64, uint64_t, __be64, __le64;
typedef signed char __s8, s8, int8_t;
typedef short __s16, s16, int16_t;
typedef int __s32, s32, int32_t, pid_t;
typedef long long __s64, s64, int64_t;
typedef unsigned long size_t, uintptr_t;
typedef long ssize_t;
typedef _Bool bool;

#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define NULL ((void *)0)

#endif
