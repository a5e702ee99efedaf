// migration_refused: the destination cannot load what the source sends.
//
// Case 2 and its relatives: the stream is fine until a section that this build refuses. One byte of the incoming stream
// is flipped, and the destination ends with a load error.
//
//   FAULT_SECTION=<name>   the last letter of this section's name (of its first instance): a device that the
//   destination
//                          does not know, found late, with the source already stopped: fw_cfg, 0000:00:04.0/virtio-blk
//   FAULT_AT_BYTES=n       instead: the byte at this offset (default 7, the stream's version: refused at once)
//   FAULT_MASK             the bits to flip (default 0x10)
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which incoming migrations
#include <stdio.h>
#include <string.h>

#include "stream.h"

static bool active;
static struct stream_finder section;

void stream_begin(void) {
  active = fault_due(fault_count_event());
  // A name comes after its length (QEMU, migration/savevm.c: save_section_header), which keeps apart the name of a
  // section and the same text in a page of the firmware.
  char text[64] = "";
  const char* name = fault_text("FAULT_SECTION", NULL);
  if (name != NULL) snprintf(text, sizeof text, "%c%s", (int)strlen(name), name);
  stream_find(&section, text);
}

void stream_data(uint64_t offset, const struct iovec* iov, size_t bytes) {
  if (!active) return;
  const uint8_t mask = (uint8_t)fault_number("FAULT_MASK", 0x10);
  if (section.length > 0) {
    uint8_t* last = stream_look(&section, iov, bytes);
    if (last != NULL) *last ^= mask;
    return;
  }
  const uint64_t at = fault_number("FAULT_AT_BYTES", 7);
  if (at >= offset && at < offset + bytes) *stream_byte(iov, (size_t)(at - offset)) ^= mask;
}

void stream_end(void) {
  active = false;
}
