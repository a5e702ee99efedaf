// FakeTarget: a vhost-user target without a process. A test says how it ends and whether it comes back; whoever is
// connected to it (the test's own process stands for the QEMUs, as in fake_vm) loses the connection with it.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "proc/child_process.h"
#include "proc/proc_fs.h"
#include "target/target.h"

namespace migsoak::engine {

class FakeChild : public proc::ChildProcess {
 public:
  void end(proc::ExitStatus status) { status_ = status; }
  void begin() { status_.reset(); }

  // This one is there all the time, and may be looked at.
  pid_t pid() const override { return ::getpid(); }
  std::int64_t start_ticks() const override { return proc::read_stat(::getpid())->start_ticks; }
  const proc::SpawnSpec& spec() const override { return spec_; }
  bool exited() const override { return status_.has_value(); }
  std::optional<proc::ExitStatus> exit_status() const override { return status_; }
  base::Result<void> signal(int /*number*/) override { return {}; }
  base::Result<proc::ExitStatus> wait_exit(base::Deadline /*deadline*/) override { return *status_; }
  proc::ExitStatus stop(std::chrono::milliseconds /*grace*/) override { return status_.value_or(proc::ExitStatus{}); }
  std::vector<std::string> take_lines() override { return {}; }
  std::uint64_t take_dropped_bytes() override { return 0; }
  std::vector<std::string> last_lines() const override { return {}; }

 private:
  proc::SpawnSpec spec_;
  std::optional<proc::ExitStatus> status_;
};

class FakeTarget : public target::Target {
 public:
  // It serves the device "vd0".
  explicit FakeTarget(const std::string& name, const std::string& side = "", const std::string& run_dir = "") {
    spec_.name = name;
    spec_.process = "target:" + name + (side.empty() ? "" : "@" + side);
    spec_.devices = {{"vd0", ""}};
    endpoint_.socket = run_dir + "/" + name + side;
  }
  ~FakeTarget() override { close(); }

  void set_spare_slots(bool spare) { spare_slots_ = spare; }
  void ignore_terminate() { ends_when_asked_ = false; }
  void end(proc::ExitStatus status = {1, 0, false}) {
    child_.end(status);
    close();
  }
  // Its QEMUs are connected to it.
  void listen_and_connect() {
    const auto address_of = [this] {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::memcpy(address.sun_path, endpoint_.socket.c_str(), endpoint_.socket.size() + 1);
      return address;
    };
    const sockaddr_un address = address_of();
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
    ::unlink(address.sun_path);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    client_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    connected_ = ::bind(listener_.get(), generic, sizeof address) == 0 && ::listen(listener_.get(), 1) == 0 &&
                 ::connect(client_.get(), generic, sizeof address) == 0;
    accepted_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  bool connected() const { return connected_; }
  // What it does when it is started again; by default it listens, and its QEMUs connect.
  std::function<base::Result<void>()> on_start = [this]() -> base::Result<void> {
    listen_and_connect();
    return {};
  };
  // What comes of the wait for it.
  std::function<base::Result<void>()> on_wait = []() -> base::Result<void> { return {}; };
  std::vector<target::StopHow> stops;  // that it was asked for

  base::Result<void> wait_ready(base::Deadline /*deadline*/) override { return on_wait(); }
  const target::Endpoint& connect(const std::string& /*device*/, const std::string& /*slot*/) const override {
    return endpoint_;
  }
  std::vector<std::string> sockets() const override { return {endpoint_.socket}; }
  bool has_spare_slots() const override { return spare_slots_; }
  proc::ChildProcess& child() override { return child_; }
  const target::TargetSpec& spec() const override { return spec_; }
  const target::TargetKind& kind() const override { return *target::find_target_kind("command"); }
  pid_t pid() const override { return child_.pid(); }
  bool ends_with_client() const override { return false; }
  base::Result<target::Figures> statistics(base::Deadline /*deadline*/) override {
    return target::Figures{{"requests", 7}};
  }
  proc::ExitStatus stop(std::chrono::milliseconds /*grace*/) override {
    end({0, 0, false});
    return {0, 0, false};
  }
  void begin_stop(target::StopHow how) override {
    stops.push_back(how);
    if (how == target::StopHow::kill) end({-1, 9, false});
    if (how == target::StopHow::graceful && ends_when_asked_) end({0, 0, false});
  }
  bool stopped() override { return child_.exited(); }
  base::Result<void> start_again() override {
    MIGSOAK_TRY(on_start());
    child_.begin();
    return {};
  }

 private:
  void close() {
    accepted_.reset();
    client_.reset();
    listener_.reset();
    if (connected_) ::unlink(endpoint_.socket.c_str());
    connected_ = false;
  }

  target::TargetSpec spec_;
  target::Endpoint endpoint_;
  FakeChild child_;
  base::UniqueFd listener_, client_, accepted_;
  bool connected_ = false;
  bool spare_slots_ = true;
  bool ends_when_asked_ = true;
};

}  // namespace migsoak::engine
