// A fetched build's tree: unpacked packages whose QEMU runs there and nowhere else. Internal to fleet.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fleet/fleet.h"

namespace migsoak::fleet {

struct Tree {
  std::filesystem::path made;    // where it is built
  std::filesystem::path placed;  // where it will be
  std::filesystem::path loader;  // its own ld.so, relative
};

// Runs a program to its end; kind environment, one line, when it fails.
base::Result<void> run_tool(const Host& host, std::vector<std::string> argv, base::Deadline deadline);

// Unpacks the .deb files into tree.made and binds the QEMU programs in it to its own loader, libraries, modules and
// firmware. Sets tree.loader.
base::Result<void> make_tree(const Host& host, const std::vector<std::filesystem::path>& packages, Tree& tree,
                             base::Deadline deadline);

// The QEMU of the tree with the arguments and environment it needs, as seen from `root` (made or placed).
LocalBuild build_in(const Tree& tree, const std::filesystem::path& root);
// What starts a program of the tree before the tree is in its place (ld.so(8)).
std::vector<std::string> launcher_in(const Tree& tree);

// The folders that Debian's QEMU, and ld.so, fall back to when their own lack a file. A build beside the system's must
// not: the system's modules end it ("Only modules from the same build can be loaded", then an assertion), its firmware
// and libraries would mix in silently. Each such string in a program's bytes is turned into a path that does not exist,
// of the same length ("/usr/share/qemu" into "/-sr/share/qemu"). Returns how many were.
int close_system_folders(std::string& program);

}  // namespace migsoak::fleet
