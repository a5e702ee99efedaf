// Watches the main channel of a migration: what a QEMU reads from it as the destination, and that it writes to it as
// the source. The channel is known by its first bytes, QEMU_VM_FILE_MAGIC 0x5145564d "QEVM" (QEMU, migration/savevm.h),
// so sockets, pipes and files are all found.
#pragma once

#include <sys/uio.h>

#include "fault.h"

// The section of the first vCPU's common state (QEMU, cpu.c: vmstate_cpu_common): sent when the guest is stopped.
#define STREAM_DEVICE_STATE "cpu_common"

// Defined by the user of this file. `iov` holds `bytes` bytes of the stream from `offset` on and may be changed.
void stream_begin(void);
void stream_data(uint64_t offset, const struct iovec* iov, size_t bytes);
void stream_end(void);
// The same of a source, without the data. May be defined; nothing happens otherwise.
void stream_outgoing(void);
void stream_sent(void);

// The descriptor is a new one.
void stream_forget(int fd);

// Byte number `index` of the buffers.
uint8_t* stream_byte(const struct iovec* iov, size_t index);

// Finds a text in a stream that comes in pieces, once.
struct stream_finder {
  char text[64];
  size_t length, matched;
  bool done;
};
void stream_find(struct stream_finder* finder, const char* text);
// The text's last byte when this piece completes it, else NULL.
uint8_t* stream_look(struct stream_finder* finder, const struct iovec* iov, size_t bytes);
