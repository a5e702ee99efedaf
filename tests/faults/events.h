// Faults that happen at an event of the process: FAULT_ON =
//   start         when the process starts (default in a qemu-system-*)
//   accept        when it accepts a connection (default elsewhere: one per QEMU that connects to a vhost target)
//   incoming      a QEMU: the first bytes of an incoming migration have been read
//   device_state  a QEMU: an incoming migration has come to the devices; the source has stopped the guest
//   loaded        a QEMU: an incoming migration is read to its end and its channel is closed
//   outgoing      a QEMU: the first bytes of an outgoing migration have been written (to a socket, a pipe, a file)
//   saved         a QEMU: an outgoing migration's channel is closed: all is written, or it has failed
//   exec          the process is about to become another program (cpr-exec). Its children's execs are none
// accept: FAULT_SOCKET, patterns of the listening unix socket's base name; without it all but *qmp*|*mon* count.
#pragma once

#include "fault.h"

// Each fault defines these two.
extern const char* const fault_on_default;  // NULL: as above
void fault_fire(uint64_t n);                // n: the event's number, from 1
