#include "sysfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace migsoak::agent {

namespace {

// "0000:00:04.0"
bool is_pci_address(const std::string& text) {
  constexpr char kShape[] = "xxxx:xx:xx.x";
  if (text.size() != sizeof kShape - 1) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (kShape[i] == 'x' ? !hex : text[i] != kShape[i]) return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> list_folder(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0;
}

std::string link_name(const std::string& path) {
  char target[512];
  const ssize_t length = readlink(path.c_str(), target, sizeof target);
  if (length <= 0) return "";
  const std::string text(target, static_cast<std::size_t>(length));
  return text.substr(text.rfind('/') + 1);
}

std::string resolved(const std::string& path) {
  char* target = realpath(path.c_str(), nullptr);
  if (target == nullptr) return "";
  std::string text = target;
  free(target);
  return text;
}

std::string pci_address_in(const std::string& path) {
  std::size_t end = path.size();
  while (end > 0) {
    const std::size_t slash = path.rfind('/', end - 1);
    const std::size_t start = slash == std::string::npos ? 0 : slash + 1;
    if (std::string part = path.substr(start, end - start); is_pci_address(part)) return part;
    end = slash == std::string::npos ? 0 : slash;
  }
  return "";
}

std::string scsi_address_in(const std::string& path) {
  const std::string last = path.substr(path.rfind('/') + 1);
  // Four numbers: host, channel, target, LUN.
  const bool digits = last.find_first_not_of("0123456789:") == std::string::npos;
  const bool whole = !last.empty() && last.front() != ':' && last.back() != ':' && last.find("::") == std::string::npos;
  if (!digits || !whole || std::count(last.begin(), last.end(), ':') != 3) return "";
  return last.substr(last.find(':') + 1);
}

bool write_text(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  return close(fd) == 0 && written;
}

}  // namespace migsoak::agent
