// fd_loss_exec: one descriptor lost in each exec generation.
//
// In cpr-exec one process lives through hundreds of programs, and what is open without CLOEXEC goes along. A descriptor
// that the old program meant to keep for the new one, and that the new one does not know of, is never closed again: one
// more per upgrade, in one pid, until RLIMIT_NOFILE. Here it is opened just before the exec, without CLOEXEC.
//
//   FAULT_KIND=eventfd   a duplicate of the first eventfd that is open (default)
//   FAULT_KIND=memfd     a duplicate of the first memfd: where RAM is a memfd, of what cpr keeps on purpose
//   FAULT_KIND=socket    a new socket, connected to nothing. A duplicate of QEMU's own would keep its peers waiting,
//                        which is another fault
//   FAULT_KIND=eventfd|memfd   several: one of each
//   FAULT_COUNT          descriptors of each kind per exec (default 1)
//   FAULT_ON, FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE (without it each program counts from 1 again)
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = "exec";

// The lowest open descriptor whose name in /proc begins so; -1 when there is none.
static int first_open(const char* name) {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == NULL) return -1;
  int first = -1;
  for (const struct dirent* entry; (entry = readdir(directory)) != NULL;) {
    const int fd = atoi(entry->d_name);
    char link[PATH_MAX];
    const ssize_t length = readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1);
    if (length < 0) continue;  // "." and ".."
    link[length] = '\0';
    if (strncmp(link, name, strlen(name)) == 0 && (first < 0 || fd < first)) first = fd;
  }
  closedir(directory);
  return first;
}

static int one_more(const char* kind) {
  if (strcmp(kind, "eventfd") == 0) return dup(first_open("anon_inode:[eventfd]"));
  if (strcmp(kind, "memfd") == 0) return dup(first_open("/memfd:"));
  if (strcmp(kind, "socket") == 0) return socket(AF_UNIX, SOCK_STREAM, 0);
  return -1;
}

void fault_fire(uint64_t n) {
  (void)n;
  for (const char* kinds = fault_text("FAULT_KIND", "eventfd"); *kinds != '\0';) {
    char kind[32];
    const size_t length = strcspn(kinds, "|");
    snprintf(kind, sizeof kind, "%.*s", (int)length, kinds);
    for (uint64_t i = fault_number("FAULT_COUNT", 1); i > 0; --i) {
      if (one_more(kind) >= 0) continue;
      dprintf(STDERR_FILENO, "planted fault: fd_loss_exec: no descriptor of kind '%s' to lose\n", kind);
      _exit(125);
    }
    kinds += length;
    if (*kinds == '|') ++kinds;
  }
}
