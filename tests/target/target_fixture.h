// What the target tests share: a run directory with an image, specs, and targets that are started from them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "proc/run_dir.h"
#include "target/target.h"

namespace migsoak::target {

inline constexpr std::chrono::seconds kPatience{30};

inline bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

inline bool connects(const std::string& path) {
  const base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

class TargetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto run_dir = proc::RunDir::create("target-test");
    ASSERT_TRUE(run_dir) << run_dir.error().describe();
    run_dir_ = std::move(*run_dir);
    auto containment = proc::Containment::start({"target-test", run_dir_->path(), ""});
    ASSERT_TRUE(containment) << containment.error().describe();
    containment_ = std::move(*containment);
    image_ = run_dir_->path() + "/disk.raw";
    std::ofstream(image_).close();
    ASSERT_EQ(::truncate(image_.c_str(), 16 << 20), 0);
  }

  TargetSpec spec_of(const std::string& kind) {
    TargetSpec spec;
    spec.name = "disk0";
    spec.process = "target:disk0";
    spec.kind = kind;
    spec.devices = {{"vd0", image_, 1, EndpointType::block}};
    spec.slots = {"a0", "a1", "b0", "b1"};
    spec.run_dir = run_dir_->path();
    spec.log_file = run_dir_->path() + "/disk0.log";
    return spec;
  }
  TargetSpec daemon() { return spec_of("qemu-storage-daemon"); }
  TargetSpec command(std::vector<std::string> argv) {
    TargetSpec spec = spec_of("command");
    spec.options["argv"] = std::move(argv);
    return spec;
  }
  // A vhost-user backend that is no storage daemon as far as `command` knows.
  static std::vector<std::string> backend_argv() {
    return {"qemu-storage-daemon", "--blockdev", "driver=file,node-name=f,filename={image},locking=off", "--export",
            "type=vhost-user-blk,id=x,node-name=f,writable=on,addr.type=unix,addr.path={socket}"};
  }
  std::unique_ptr<Target> start(TargetSpec spec) {
    auto target = start_target(reactor_, *containment_, std::move(spec));
    EXPECT_TRUE(target) << target.error().describe();
    return target ? std::move(*target) : nullptr;
  }
  base::Error refusal(TargetSpec spec) {
    auto target = start_target(reactor_, *containment_, std::move(spec));
    EXPECT_FALSE(target);
    return target ? base::Error{} : target.error();
  }
  static base::Deadline soon() { return base::Deadline::in(kPatience); }

  proc::Reactor reactor_;
  std::unique_ptr<proc::RunDir> run_dir_;
  std::unique_ptr<proc::Containment> containment_;
  std::string image_;
};

}  // namespace migsoak::target
