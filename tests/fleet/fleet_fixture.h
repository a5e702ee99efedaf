// A fleet of the test's own, and what starting processes takes.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "fleet/entry.h"
#include "fleet/fleet.h"
#include "fleet/inspect.h"
#include "proc/run_dir.h"

namespace migsoak::fleet {

inline constexpr const char* kSystemQemu = "/usr/bin/qemu-system-x86_64";

class FleetTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "fleet-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
    ::setenv("MIGSOAK_FLEET_DIR", (dir_ / "fleet").c_str(), 1);
    auto run_dir = proc::RunDir::create("fleet-test");
    ASSERT_TRUE(run_dir.has_value()) << run_dir.error().describe();
    run_dir_ = std::move(*run_dir);
    auto containment = proc::Containment::start({"fleet-test", run_dir_->path(), ""});
    ASSERT_TRUE(containment.has_value()) << containment.error().describe();
    containment_ = std::move(*containment);
  }
  void TearDown() override {
    containment_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
    ::unsetenv("MIGSOAK_FLEET_DIR");
  }

  Host host() { return {reactor_, *containment_}; }
  static base::Deadline soon() { return base::Deadline::in(std::chrono::seconds(60)); }
  std::filesystem::path fleet() const { return dir_ / "fleet"; }
  // Names in the fleet's folder but the lock's.
  std::vector<std::string> folders() const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& item : std::filesystem::directory_iterator(fleet(), error)) {
      if (item.path().filename() != ".lock") names.push_back(item.path().filename());
    }
    return names;
  }
  std::string write_script(const std::string& name, const std::string& text) const {
    const auto path = dir_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
    ::chmod(path.c_str(), 0755);
    return path;
  }
  // An entry as if it had been added, with a binary that only exists.
  void put_entry(const std::string& id, const std::string& version, const std::string& suite) const {
    const auto folder = fleet() / id;
    std::filesystem::create_directories(folder / "tree");
    std::ofstream(folder / "tree/qemu") << "not run by these tests";
    Build build;
    build.id = id;
    build.version = version;
    build.suite = suite;
    build.binary = folder / "tree/qemu";
    build.stamp = binary_stamp(build.binary);
    build.machines = {{"pc-i440fx-" + version, "pc", false, true}};
    ASSERT_TRUE(write_entry(folder, build).has_value());
  }

  std::filesystem::path dir_;
  proc::StopRequest stop_;
  proc::Reactor reactor_{&stop_};
  std::unique_ptr<proc::RunDir> run_dir_;
  std::unique_ptr<proc::Containment> containment_;
};

}  // namespace migsoak::fleet
