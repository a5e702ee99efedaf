// The fleet: QEMU builds by name, side by side, each with what it says of itself.
//
// A fleet is a directory of the user: $MIGSOAK_FLEET_DIR, else $XDG_CACHE_HOME/migsoak/fleet, else
// ~/.cache/migsoak/fleet. One folder an entry: entry.json (fleet/entry.h), and tree/ where the build was fetched.
// Fetched binaries are bound to their absolute place (ELF interpreter, elf(5)): a fleet is never moved, only fetched
// anew.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "proc/containment.h"
#include "proc/reactor.h"

namespace migsoak::fleet {

struct MachineType {
  std::string name;         // "pc-i440fx-5.2"
  std::string alias;        // "pc" where the build's newest of that kind has one, else empty
  bool deprecated = false;  // said by builds from 6.0 on
  bool is_default = false;
};

// A device type as `-device help` prints it: what a user can create.
struct DeviceType {
  std::string name;   // "virtio-blk-pci"
  std::string bus;    // "PCI", "virtio-bus", "usb-bus"; empty when it needs none
  std::string alias;  // "virtio-blk"; often empty
};

struct Build {
  std::string name;   // as people write it: "qemu-10.0.13", "qemu-11.1" (the short form where it is unique)
  std::string id;     // the entry's folder: "qemu-11.1.2"; does not change when the fleet grows. Empty: a path
  std::string suite;  // "debian:trixie"; empty for the user's own
  std::string package_version;             // "1:10.0.13+ds-0+deb13u1"; empty for the user's own
  std::string version;                     // "10.0.13", query-version of the binary
  std::string binary;                      // absolute
  std::vector<std::string> args;           // go right after the binary, before anything else: -L ...
  std::map<std::string, std::string> env;  // QEMU_MODULE_DIR ...: a side's own env wins over it
  std::vector<MachineType> machines;
  std::vector<DeviceType> devices;
  std::vector<std::string> modes;         // migration modes (QAPI MigMode): "normal", "cpr-reboot", ...
  std::vector<std::string> capabilities;  // migration capabilities (QAPI MigrationCapability): "multifd", ...
  std::string stamp;                      // size and time of the binary when it was inspected
  bool stale = false;                     // the binary has changed since; resolve() inspects it anew

  // "10.0.13" is at least 10, 0.
  bool at_least(int major, int minor) const;
  bool has_mode(std::string_view mode) const;
  // By name or alias.
  bool has_device(std::string_view device) const;
  const MachineType* machine(std::string_view name_or_alias) const;  // null when unknown
  // A program that came with this build ("qemu-storage-daemon", "qemu-img"), ready to run; empty when there is none.
  std::string program(std::string_view name) const;
};

// What starting a QEMU to ask it takes. Borrowed.
struct Host {
  proc::Reactor& reactor;
  proc::Containment& containment;
};

std::string fleet_dir();

// All readable entries, oldest version first. An entry that can't be read, or whose binary is gone, is left out and
// told in `troubles` (one line each), when given.
base::Result<std::vector<Build>> builds(std::vector<std::string>* troubles = nullptr);

// By name, id, suite ("debian:trixie") or version prefix that only one build has ("qemu-7" when 7.2 is the only 7).
// nullopt: no such build. kind bad_input: several match, listed in the message.
base::Result<std::optional<Build>> find(const std::string& word);

enum class WhenMissing { refuse, fetch };

// What a scenario's `qemu = "..."` or compat's `--from` means: a fleet word, a path or a program in PATH (inspected
// now, about 0.2 s), or "debian:SUITE", fetched when missing and allowed. kind bad_input, one line with the nearest
// name, when it is none of these. `progress` gets one line when something takes long; may be empty.
using Progress = std::function<void(const std::string&)>;
base::Result<Build> resolve(const Host& host, const std::string& word, WhenMissing when_missing,
                            base::Deadline deadline, const Progress& progress = {});

// The machine type for a guest that lives on all of `builds`. `wanted` "pc" or "q35": the newest versioned type that
// every build knows. A versioned one, or one without versions ("microvm", "none"): itself, where every build knows it.
// Options after a comma are kept. kind bad_input with the reason otherwise.
base::Result<std::string> choose_machine(const std::vector<Build>& builds, const std::string& wanted);

// The suites add_debian() knows: "bullseye", ...
std::vector<std::string> debian_suites();

struct Added {
  Build build;
  bool was_there = false;  // nothing had to be done
  std::string replaced;    // id of the entry that held this suite before, with `refresh`; it stays, without the suite
  double seconds = 0;
};
// `refresh`: looks for a newer package even when the suite is in the fleet. Atomic: the entry appears complete or not
// at all. kind bad_input: unknown suite. kind environment: the one line says what failed and how to go on.
base::Result<Added> add_debian(const Host& host, const std::string& suite, bool refresh, base::Deadline deadline,
                               const Progress& progress = {});

// A QEMU by its path, with what it needs.
struct LocalBuild {
  std::string name;  // letters, digits, . _ + -; begins with a letter or digit
  std::string path;  // of the binary
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
};
// kind bad_input: the name is taken or not allowed, the path is no QEMU. The same name for the same path again is fine:
// the build is inspected anew.
base::Result<Added> add_local(const Host& host, const LocalBuild& local, base::Deadline deadline);

// Removes an entry; never the user's own binary. kind bad_input: no such build.
base::Result<Build> remove(const Host& host, const std::string& word, base::Deadline deadline);

base::Json to_json(const Build& build);
base::Result<Build> build_from_json(const base::Json& json);

}  // namespace migsoak::fleet
