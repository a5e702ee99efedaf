#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace migsoak::agent {

namespace {

void say_list(const char* prefix, const char* format, va_list arguments) {
  char text[400];
  int length = snprintf(text, sizeof text, "%s", prefix);
  length += vsnprintf(text + length, sizeof text - static_cast<std::size_t>(length) - 2, format, arguments);
  if (length > static_cast<int>(sizeof text) - 3) length = static_cast<int>(sizeof text) - 3;
  text[length] = '\n';
  if (write(2, text, static_cast<std::size_t>(length) + 1) < 0) return;
}

}  // namespace

void say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say_list("agent: ", format, arguments);
  va_end(arguments);
}

void fatal(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say_list("agent: fatal: ", format, arguments);
  va_end(arguments);
  for (;;) pause();  // the line above is what the host acts on; a panic would only add noise
}

void mount_file_systems() {
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mkdir("/dev", 0755);
  const bool mounted = mount("proc", "/proc", "proc", 0, nullptr) == 0 &&
                       mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0 &&
                       mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr) == 0;
  const int mount_errno = errno;
  const int console = open("/dev/console", O_RDWR | O_NOCTTY);
  if (console >= 0) {
    for (int fd = 0; fd < 3; ++fd) dup2(console, fd);
    if (console > 2) close(console);
  }
  if (!mounted) fatal("mount: %s", strerror(mount_errno));
}

void load_module(const std::string& name) {
  const std::string path = "/lib/modules/" + name + ".ko";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fatal("module %s: %s", path.c_str(), strerror(errno));
  if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) {
    fatal("module %s: %s", path.c_str(), strerror(errno));
  }
  close(fd);
}

void load_modules() {
  const std::string order = read_text("/lib/modules/order");
  std::size_t start = 0;
  while (start < order.size()) {
    std::size_t end = order.find('\n', start);
    if (end == std::string::npos) end = order.size();
    load_module(order.substr(start, end - start));
    start = end + 1;
  }
}

std::string read_text(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char buffer[4096];
  const ssize_t got = read(fd, buffer, sizeof buffer);
  close(fd);
  std::string text(buffer, got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\0')) text.pop_back();
  return text;
}

long command_line_number(const char* key, long fallback) {
  const std::string words = " " + read_text("/proc/cmdline");
  const std::size_t at = words.find(std::string(" ") + key + "=");
  if (at == std::string::npos) return fallback;
  return strtol(words.c_str() + at + strlen(key) + 2, nullptr, 10);
}

}  // namespace migsoak::agent
