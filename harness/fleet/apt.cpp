#include "fleet/apt.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "base/text.h"
#include "proc/child_process.h"

namespace migsoak::fleet {

namespace fs = std::filesystem;
using base::ErrorKind;
using base::Result;

namespace {

constexpr const char* kDebianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg";
constexpr const char* kDebian = "http://deb.debian.org/debian";
constexpr const char* kDebianArchive = "http://archive.debian.org/debian";

Result<void> write_file(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) return base::fail(ErrorKind::environment, "can't write " + path.string());
  return {};
}

// What `apt-get indextargets` says of the machine's own sources, whatever their format: the URI whose last part is
// "debian" (as on every mirror) and that is not the security archive.
std::string machines_mirror(const Host& host, base::Deadline deadline) {
  proc::SpawnSpec spec;
  spec.name = "apt-get indextargets";
  spec.argv = {"apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"};
  spec.env = {{"LC_ALL", "C"}};
  const auto output = proc::run_command(host.reactor, host.containment, spec, deadline);
  if (!output || !output->status.success()) return "";
  for (std::string line : base::split(output->out, '\n')) {
    while (line.ends_with('/')) line.pop_back();
    // A line starts with its type of transport; anything apt warns about does not.
    if (line.ends_with("/debian") && line.find("://") != std::string::npos && line.find(' ') == std::string::npos)
      return line;
  }
  return "";
}

}  // namespace

const std::vector<Suite>& suites() {
  static const std::vector<Suite> all = {
      {"bullseye", "", "Debian 11"},
      {"bookworm", "", "Debian 12"},
      {"bookworm-backports", "bookworm", "newer packages for Debian 12"},
      {"trixie", "", "Debian 13"},
      {"forky", "", "what becomes Debian 14; its version moves on"},
  };
  return all;
}

Result<std::vector<Mirror>> mirrors(const Host& host, base::Deadline deadline) {
  const char* only = std::getenv("MIGSOAK_FLEET_MIRROR");
  if (only != nullptr && *only != '\0') return std::vector<Mirror>{{only, false}};
  std::vector<Mirror> found;
  if (const std::string own = machines_mirror(host, deadline); !own.empty()) found.push_back({own, false});
  if (found.empty() || found.front().uri != kDebian) found.push_back({kDebian, false});
  found.push_back({kDebianArchive, true});
  return found;
}

std::string apt_reason(std::string_view output) {
  std::string reason;
  for (const std::string& line : base::split(output, '\n')) {
    // The first error is the cause; later ones say that something failed to download.
    if (line.starts_with("E: ") && reason.empty()) reason = line.substr(3);
  }
  if (reason.empty()) {
    for (const std::string& line : base::split(output, '\n')) {
      if (line.find_first_not_of(" \t\r") != std::string::npos) reason = line;
    }
  }
  return base::printable(reason, 300);
}

Result<void> PrivateApt::configure(const Suite& suite, const Mirror& mirror) {
  std::error_code error;
  for (const char* sub : {"lists/partial", "archives/partial"}) fs::create_directories(folder_ / sub, error);
  if (error) return base::fail(ErrorKind::environment, fmt::format("{}: {}", folder_.string(), error.message()));
  std::string options = "target=Packages";
  if (::access(kDebianKeys, R_OK) == 0) options += fmt::format(" signed-by={}", kDebianKeys);
  if (mirror.archive) options += " check-valid-until=no";
  std::string sources;
  for (const std::string& name : {suite.base, suite.name}) {
    if (!name.empty()) sources += fmt::format("deb [{}] {} {} main\n", options, mirror.uri, name);
  }
  MIGSOAK_TRY(write_file(folder_ / "sources.list", sources));
  MIGSOAK_TRY(write_file(folder_ / "status", ""));
  target_ = suite.base.empty() ? "" : suite.name;
  // Read after the machine's own configuration (apt.conf(5), -c), whose proxies and keys stay in force.
  return write_file(folder_ / "apt.conf", fmt::format(R"(#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear APT::Default-Release;
#clear APT::Architectures;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
APT::Keep-Downloaded-Packages "true";
Debug::NoLocking "true";
Dir::State "{0}/";
Dir::State::lists "lists/";
Dir::State::status "{0}/status";
Dir::State::extended_states "{0}/extended_states";
Dir::Cache "{0}/";
Dir::Cache::archives "archives/";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "{0}";
Dir::Log::Terminal "";
Dir::Log::History "";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
)",
                                                      folder_.string()));
}

Result<std::string> PrivateApt::run(std::vector<std::string> words, base::Deadline deadline) {
  proc::SpawnSpec spec;
  spec.name = words.front() + " " + words.back();
  spec.argv = {words.front(), "-c", folder_ / "apt.conf", "-q"};
  if (!target_.empty()) spec.argv.insert(spec.argv.end(), {"-t", target_});
  spec.argv.insert(spec.argv.end(), words.begin() + 1, words.end());
  spec.env = {{"LC_ALL", "C"}, {"DEBIAN_FRONTEND", "noninteractive"}};
  MIGSOAK_ASSIGN(const auto output, proc::run_command(host_.reactor, host_.containment, spec, deadline));
  if (output.status.success()) return output.out;
  return base::fail(ErrorKind::environment, fmt::format("apt: {}", output.out.empty() ? proc::to_string(output.status)
                                                                                      : apt_reason(output.out)));
}

Result<void> PrivateApt::update(const Suite& suite, const Mirror& mirror, base::Deadline deadline) {
  MIGSOAK_TRY(configure(suite, mirror));
  // -t must name a suite that the index knows, and there is none yet.
  const std::string target = std::exchange(target_, "");
  auto updated = run({"apt-get", "update"}, deadline);
  target_ = target;
  if (!updated) return tl::unexpected<base::Error>(updated.error());
  return {};
}

Result<std::string> PrivateApt::candidate(const std::string& package, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const std::string text, run({"apt-get", "--simulate", "install", package}, deadline));
  // "Inst qemu-system-x86 (1:10.0.13+ds-0+deb13u1 Debian:13.0/stable [amd64])"
  const std::string start = "\nInst " + package + " (";
  const auto at = text.find(start);
  if (at == std::string::npos) return base::fail(ErrorKind::environment, "apt names no version of " + package);
  const std::string rest = text.substr(at + start.size(), 200);
  return base::printable(rest.substr(0, rest.find_first_of(" )")));
}

Result<std::vector<fs::path>> PrivateApt::download(const std::vector<std::string>& packages, base::Deadline deadline) {
  std::vector<std::string> words{"apt-get", "--assume-yes", "--download-only", "install"};
  words.insert(words.end(), packages.begin(), packages.end());
  MIGSOAK_TRY(run(words, deadline));
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder_ / "archives", error)) {
    if (item.path().extension() == ".deb") files.push_back(item.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) return base::fail(ErrorKind::environment, "apt downloaded nothing");
  return files;
}

}  // namespace migsoak::fleet
