// leftover_file: a file beside the sockets that nobody removes.
//
// A pid file, a lock, a state file of an upgrade: each cycle leaves one until the file system has no inode left.
//
//   FAULT_DIR     where; default: the directory of the first unix socket that was bound, else of the first
//                 `path=/…` or `unix:/…` on the command line; nothing is done when there is none of these
//   FAULT_NAME    what it is called (default "leftover"), followed by .<pid>.<n>
//   FAULT_BYTES   its size (default 16)
//   FAULT_ON, FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "events.h"

FAULT_NEXT(bind)

const char* const fault_on_default = NULL;

static char bound[sizeof(((struct sockaddr_un*)0)->sun_path) + 1];
static _Atomic bool bound_known;

FAULT_EXPORT int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t size) {
  const int result = next_bind()(fd, address, size);
  const struct sockaddr_un* local = address.__sockaddr_un__;
  const size_t head = offsetof(struct sockaddr_un, sun_path);
  if (result == 0 && fault_enabled() && size > head && local->sun_family == AF_UNIX && local->sun_path[0] == '/' &&
      !atomic_exchange(&bound_known, true)) {
    memcpy(bound, local->sun_path, size - head < sizeof bound ? size - head : sizeof bound - 1);
  }
  return result;
}

static bool directory_of(const char* path, char* directory) {
  const size_t length = strcspn(path, ",\"' ");
  if (length >= PATH_MAX) return false;
  memcpy(directory, path, length);
  directory[length] = '\0';
  char* slash = strrchr(directory, '/');
  if (slash == NULL || slash == directory) return false;
  *slash = '\0';
  return true;
}

static bool directory_in_argv(char* directory) {
  static const char* const keys[] = {"path=/", "unix:/"};
  char text[16384];
  const int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return false;
  text[length] = '\0';
  for (const char* word = text; word < text + length; word += strlen(word) + 1) {
    for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
      const char* key = strstr(word, keys[i]);
      if (key != NULL && directory_of(key + strlen(keys[i]) - 1, directory)) return true;
    }
  }
  return false;
}

void fault_fire(uint64_t n) {
  char directory[PATH_MAX], path[PATH_MAX + 300];
  const char* given = fault_text("FAULT_DIR", NULL);
  if (given != NULL) {
    snprintf(directory, sizeof directory, "%s", given);
  } else if (!(atomic_load(&bound_known) && directory_of(bound, directory)) && !directory_in_argv(directory)) {
    return;
  }
  snprintf(path, sizeof path, "%s/%.200s.%d.%llu", directory, fault_text("FAULT_NAME", "leftover"), (int)getpid(),
           (unsigned long long)n);
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (ftruncate(fd, (off_t)fault_number("FAULT_BYTES", 16)) != 0) errno = 0;
  close(fd);
}
