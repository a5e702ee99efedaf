// stale_image: a vhost target that comes back from a restart with an older copy of its disk. A wrapper for targets:
// [<build>/tests/faults/stale_image].
//
// A restart script that names the image of yesterday, a snapshot that was reverted, a cache that was never written
// back: the target answers, the device reconnects, and the guest's acknowledged writes are gone. Each start leaves a
// copy of each image, as it then is; a start that is due serves the copies of the start before the first such.
//
//   FAULT_STATE   needed: counts the starts, and names the copies (FAULT_STATE.image1 …): keep it out of the run's own
//                 directories
//   FAULT_AT      the first start that serves the copies (default 2: the first restart, with the disk as it was at the
//                 very beginning)
//   FAULT_LIMIT   how many starts do (default: all from then on)
//
// Images are what `filename=` options name.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "fault.h"

enum { kUsage = 125, kImagesMax = 16 };

static bool copy(const char* from, const char* to) {
  const int source = open(from, O_RDONLY | O_CLOEXEC);
  const int copy_fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  struct stat info;
  if (source < 0 || copy_fd < 0 || fstat(source, &info) != 0) return false;
  while (info.st_size > 0) {
    const ssize_t sent = sendfile(copy_fd, source, NULL, (size_t)info.st_size);
    if (sent <= 0) return false;
    info.st_size -= sent;
  }
  return close(source) == 0 && close(copy_fd) == 0;
}

// The option with another file name; lives as long as the process: until exec.
static char* renamed(const char* option, const char* from, const char* to) {
  const char* at = strstr(option, from);
  const size_t size = strlen(option) - strlen(from) + strlen(to) + 1;
  char* changed = malloc(size);
  if (changed == NULL) exit(kUsage);
  snprintf(changed, size, "%.*s%s%s", (int)(at - option), option, to, at + strlen(from));
  return changed;
}

static bool is_due(uint64_t n) {
  const uint64_t at = fault_number("FAULT_AT", 2);
  const uint64_t limit = fault_number("FAULT_LIMIT", 0);
  return n >= at && (limit == 0 || n - at < limit);
}

int main(int argc, char** argv) {
  const char* state = fault_text("FAULT_STATE", "");
  if (argc < 2 || *state == '\0') {
    fprintf(stderr, "usage: FAULT_STATE=FILE stale_image PROGRAM [ARGUMENT]...\n");
    return kUsage;
  }
  const uint64_t n = is_question(argv + 1) ? 0 : fault_count_event();
  static char images[kImagesMax][PATH_MAX];  // one image may stand behind several nodes
  int count = 0;
  for (char** at = argv + 1; n > 0 && *at != NULL; ++at) {
    char image[PATH_MAX], kept[PATH_MAX];
    if (!option_value(*at, "filename", image, sizeof image)) continue;
    int index = 0;
    while (index < count && strcmp(images[index], image) != 0) ++index;
    if (index == kImagesMax) return kUsage;
    const bool first = index == count;
    if (first) memcpy(images[count++], image, sizeof image);
    snprintf(kept, sizeof kept, "%.4000s.image%d", state, index + 1);
    if (first && n < fault_number("FAULT_AT", 2) && !copy(image, kept)) {
      fprintf(stderr, "planted fault: stale_image: %s: %s\n", kept, strerror(errno));
      return kUsage;
    }
    if (is_due(n)) *at = renamed(*at, image, kept);
  }
  execvp(argv[1], argv + 1);
  fprintf(stderr, "stale_image: %s: %s\n", argv[1], strerror(errno));
  return 127;
}
