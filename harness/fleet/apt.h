// A private apt: the machine's mirror, proxies and keys, but its own state, so that a foreign suite never touches the
// system. Internal to fleet.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fleet/fleet.h"

namespace migsoak::fleet {

struct Suite {
  std::string name;   // "bookworm-backports"
  std::string base;   // the suite whose line must stand beside it; empty: none
  std::string about;  // for people
};
const std::vector<Suite>& suites();

// Where Debian may be had, best first: $MIGSOAK_FLEET_MIRROR alone when it is set; else the mirror that the machine's
// own apt uses, Debian's own, and the archive of old releases.
struct Mirror {
  std::string uri;
  bool archive = false;  // old releases: their Release files have run out, and say so
};
base::Result<std::vector<Mirror>> mirrors(const Host& host, base::Deadline deadline);

class PrivateApt {
 public:
  PrivateApt(Host host, std::filesystem::path folder) : host_(host), folder_(std::move(folder)) {}

  // Reads the suite's index (and its base suite's) from the mirror. kind environment with apt's own reason.
  base::Result<void> update(const Suite& suite, const Mirror& mirror, base::Deadline deadline);
  // The version that install would choose.
  base::Result<std::string> candidate(const std::string& package, base::Deadline deadline);
  // Downloads the packages and all they depend on, as for an empty system; apt checks the sums. The .deb files.
  base::Result<std::vector<std::filesystem::path>> download(const std::vector<std::string>& packages,
                                                            base::Deadline deadline);

 private:
  base::Result<void> configure(const Suite& suite, const Mirror& mirror);
  base::Result<std::string> run(std::vector<std::string> words, base::Deadline deadline);

  Host host_;
  std::filesystem::path folder_;
  std::string target_;  // of -t, for backports
};

// The line of apt's output that says what went wrong, without its "E: ".
std::string apt_reason(std::string_view output);

}  // namespace migsoak::fleet
