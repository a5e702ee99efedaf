// fake_qemu: something that starts like a QEMU and does not talk like one. A wrapper: [<build>/tests/faults/fake_qemu].
//
// A wrong binary behind the right path, a QEMU whose monitor is wedged, a proxy in between: the harness has to give up
// in time, say what it saw, and leave nothing behind. It finds the QMP socket in the arguments that follow (-qmp
// unix:PATH, or -chardev socket,id=ID,path=PATH with -mon chardev=ID,mode=control), listens there, and answers each
// client by
//
//   FAULT_MODE=garbage   bytes that are no JSON, with control characters and broken UTF-8 (default)
//   FAULT_MODE=silent    nothing; the connection stays open
//   FAULT_MODE=huge      one line without an end: FAULT_BYTES (default 64M), then it waits
//   FAULT_MODE=close     the connection is closed at once
//   FAULT_MODE=half      a good greeting, then half a line, then the connection is closed
//   FAULT_MODE=deaf      no socket at all; the process just stays
//   FAULT_MODE=exit      no socket; prints FAULT_LINE to stderr and exits with FAULT_EXIT (default 1)
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which starts are faked; the others run the real thing in place
//
// Run for a question (--version, -machine help) it runs the real thing too.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "arguments.h"
#include "fault.h"

static bool chardev_path(char** argv, const char* wanted, char* path, size_t size) {
  for (; argv[0] != NULL && argv[1] != NULL; ++argv) {
    char id[128];
    if (strcmp(argv[0], "-chardev") != 0 || !option_value(argv[1], "id", id, sizeof id)) continue;
    if (strcmp(id, wanted) == 0) return option_value(argv[1], "path", path, size);
  }
  return false;
}

static bool qmp_path(char** argv, char* path, size_t size) {
  for (char** at = argv; at[0] != NULL && at[1] != NULL; ++at) {
    char id[128], mode[32] = "";
    if (strcmp(at[0], "-qmp") == 0 && strncmp(at[1], "unix:", 5) == 0) {
      snprintf(path, size, "%.*s", (int)strcspn(at[1] + 5, ","), at[1] + 5);
      return true;
    }
    if (strcmp(at[0], "-mon") != 0) continue;
    if (!option_value(at[1], "chardev", id, sizeof id))
      snprintf(id, sizeof id, "%.*s", (int)strcspn(at[1], ","), at[1]);
    option_value(at[1], "mode", mode, sizeof mode);
    if (strcmp(mode, "control") == 0 && chardev_path(argv, id, path, size)) return true;
  }
  return false;
}

static void send_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return;
    data += sent;
    size -= (size_t)sent;
  }
}

static void send_huge(int fd) {
  char block[65536];
  memset(block, 'a', sizeof block);
  send_all(fd, "{\"QMP\": \"", 9);
  for (uint64_t left = fault_number("FAULT_BYTES", 64 << 20); left > 0;) {
    const size_t size = left < sizeof block ? (size_t)left : sizeof block;
    send_all(fd, block, size);
    left -= size;
  }
}

static void answer(int fd, const char* mode) {
  static const char garbage[] =
      "\x1b[2J\x00\xff\xfe{]\"QMP\": \xc3(\r\nHTTP/1.1 400 Bad Request\r\n\r\n{\"return\": [[[[[[\n";
  static const char greeting[] =
      "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}, \"package\": \"\"}, "
      "\"capabilities\": []}}\r\n{\"timestamp\": {\"seconds\": 17";
  if (strcmp(mode, "garbage") == 0) send_all(fd, garbage, sizeof garbage - 1);
  if (strcmp(mode, "huge") == 0) send_huge(fd);
  if (strcmp(mode, "half") == 0) send_all(fd, greeting, sizeof greeting - 1);
  if (strcmp(mode, "half") == 0 || strcmp(mode, "close") == 0) close(fd);
}

static int serve(const char* path, const char* mode) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return 125;
  memcpy(address.sun_path, path, strlen(path));
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  unlink(path);
  if (listener < 0 || bind(listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 8) != 0) {
    fprintf(stderr, "fake_qemu: %s: %s\n", path, strerror(errno));
    return 125;
  }
  for (;;) {
    const int fd = accept(listener, NULL, NULL);
    if (fd >= 0) answer(fd, mode);
  }
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: fake_qemu QEMU [ARGUMENT]...\n");
    return 125;
  }
  if (is_question(argv + 1) || !fault_due(fault_count_event())) {
    execvp(argv[1], argv + 1);
    fprintf(stderr, "fake_qemu: %s: %s\n", argv[1], strerror(errno));
    return 127;
  }
  const char* mode = fault_text("FAULT_MODE", "garbage");
  if (strcmp(mode, "exit") == 0) {
    fprintf(stderr, "%s\n", fault_text("FAULT_LINE", "qemu-system-x86_64: could not load PC BIOS 'bios-256k.bin'"));
    return (int)fault_number("FAULT_EXIT", 1);
  }
  if (strcmp(mode, "deaf") == 0) {
    for (;;) pause();
  }
  char path[256];
  if (!qmp_path(argv + 1, path, sizeof path)) {
    fprintf(stderr, "fake_qemu: no QMP socket in the arguments\n");
    return 125;
  }
  return serve(path, mode);
}
