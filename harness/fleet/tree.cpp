#include "fleet/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "fleet/apt.h"
#include "proc/child_process.h"

namespace migsoak::fleet {

namespace fs = std::filesystem;
using base::ErrorKind;
using base::Result;

namespace {

constexpr const char* kLibraries = "x86_64-linux-gnu";  // the multiarch folder (Debian multiarch/tuples)
constexpr const char* kQemu = "usr/bin/qemu-system-x86_64";
constexpr std::chrono::seconds kOneTool{60};

// The loader's usual path may be an absolute link, which would lead to the system's: the file itself is taken.
Result<fs::path> loader_in(const fs::path& tree) {
  std::error_code error;
  for (const char* lib : {"lib", "usr/lib"}) {
    const fs::path folder = fs::path(lib) / kLibraries;
    fs::path name = "ld-linux-x86-64.so.2";
    if (fs::is_symlink(tree / folder / name, error)) name = fs::read_symlink(tree / folder / name, error).filename();
    if (fs::is_regular_file(fs::symlink_status(tree / folder / name, error))) return folder / name;
  }
  return base::fail(ErrorKind::environment, "the packages hold no ld.so for x86-64");
}

std::vector<std::string> library_folders(const Tree& tree, const fs::path& root) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const char* lib : {"lib", "usr/lib"}) {
    const fs::path folder = fs::path(lib) / kLibraries;
    // Some packages keep libraries one level down and find them by an absolute DT_RUNPATH, which is the system's.
    for (const fs::path& sub : {folder, folder / "pulseaudio", folder / "ceph"}) {
      if (fs::is_directory(tree.made / sub, error)) folders.push_back(root / sub);
    }
  }
  return folders;
}

Result<void> rewrite_file(const fs::path& file) {
  std::ostringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  std::string program = std::move(bytes).str();
  if (close_system_folders(program) == 0) return {};
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << program;
  out.close();
  if (!out) return base::fail(ErrorKind::environment, "can't write " + file.string());
  return {};
}

Result<void> bind_programs(const Host& host, const Tree& tree, base::Deadline deadline) {
  const std::string rpath = base::join(library_folders(tree, tree.placed), ":");
  std::error_code error;
  MIGSOAK_TRY(rewrite_file(tree.made / tree.loader));
  for (const char* name : {"qemu-system-x86_64", "qemu-storage-daemon", "qemu-img", "qemu-io", "qemu-nbd"}) {
    const fs::path program = tree.made / "usr/bin" / name;
    if (!fs::is_regular_file(fs::symlink_status(program, error))) continue;
    MIGSOAK_TRY(rewrite_file(program));
    // DT_RPATH, not DT_RUNPATH: it also holds for what the libraries and modules need themselves (ld.so(8)).
    MIGSOAK_TRY(run_tool(
        host,
        {"patchelf", "--set-interpreter", tree.placed / tree.loader, "--force-rpath", "--set-rpath", rpath, program},
        deadline));
  }
  return {};
}

}  // namespace

int close_system_folders(std::string& program) {
  static const std::array<std::string, 10> kFolders = {
      // QEMU, as the packages are configured: modules; firmware, in one string up to 5.2, one each since.
      "/usr/lib/x86_64-linux-gnu/qemu", "/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu",
      "/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu",
      // ld.so: its cache and its default folders (ld.so(8)).
      "/etc/ld.so.cache", "/lib/x86_64-linux-gnu/", "/usr/lib/x86_64-linux-gnu/", "/lib/", "/usr/lib/"};
  const auto in_a_word = [](char c) { return std::isgraph(static_cast<unsigned char>(c)) != 0 || c == ' '; };
  int closed = 0;
  for (const std::string& folder : kFolders) {
    const std::string whole(folder.c_str(), folder.size() + 1);  // with its end
    for (auto at = program.find(whole); at != std::string::npos; at = program.find(whole, at + 1)) {
      if (at > 0 && in_a_word(program[at - 1])) continue;  // the end of a longer string
      // The tail stays as it is: a linker may have another string share it.
      for (std::size_t i = 0; i + 1 < folder.size(); ++i) {
        if (folder[i] == '/' && (i == 0 || folder[i - 1] == ':')) program[at + i + 1] = '-';
      }
      ++closed;
    }
  }
  return closed;
}

Result<void> run_tool(const Host& host, std::vector<std::string> argv, base::Deadline deadline) {
  proc::SpawnSpec spec;
  spec.name = argv.front();
  spec.argv = std::move(argv);
  spec.env = {{"LC_ALL", "C"}};
  MIGSOAK_ASSIGN(const auto output, proc::run_command(host.reactor, host.containment, spec,
                                                      base::Deadline::in(kOneTool).sooner(deadline)));
  if (output.status.success()) return {};
  return base::fail(ErrorKind::environment,
                    fmt::format("{} {}: {}: {}", spec.argv.front(), base::printable(spec.argv.back()),
                                proc::to_string(output.status), apt_reason(output.out)));
}

Result<void> make_tree(const Host& host, const std::vector<fs::path>& packages, Tree& tree, base::Deadline deadline) {
  std::error_code error;
  fs::create_directories(tree.made, error);
  for (const fs::path& package : packages)
    MIGSOAK_TRY(run_tool(host, {"dpkg-deb", "--extract", package, tree.made}, deadline),
                "unpacking " + package.filename().string());
  if (!fs::exists(tree.made / kQemu, error))
    return base::fail(ErrorKind::environment, fmt::format("the packages hold no {}", kQemu));
  MIGSOAK_ASSIGN(tree.loader, loader_in(tree.made));
  MIGSOAK_TRY(bind_programs(host, tree, deadline), "binding to its own libraries");
  return {};
}

LocalBuild build_in(const Tree& tree, const fs::path& root) {
  LocalBuild own;
  own.path = root / kQemu;
  std::error_code error;
  // -L is where firmware and option ROMs are looked for first. A ROM's size is part of a device: the system's would
  // make migrations fail that have nothing to do with the builds. Up to Debian 12 network cards' ROMs have their own
  // folder.
  for (const char* folder : {"usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"}) {
    if (!fs::is_directory(tree.made / folder, error)) continue;
    own.args.emplace_back("-L");
    own.args.push_back(root / folder);
  }
  own.env["QEMU_MODULE_DIR"] = root / "usr/lib" / kLibraries / "qemu";
  return own;
}

std::vector<std::string> launcher_in(const Tree& tree) {
  return {tree.made / tree.loader, "--library-path", base::join(library_folders(tree, tree.made), ":")};
}

}  // namespace migsoak::fleet
