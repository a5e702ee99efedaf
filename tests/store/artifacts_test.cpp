#include "store/artifacts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "store/scratch.h"

namespace migsoak::store {
namespace {

void put(const Artifacts& artifacts, std::int64_t iteration, const std::string& name, std::size_t bytes) {
  const auto path = artifacts.path_for(iteration, name);
  ASSERT_TRUE(path) << path.error().describe();
  std::ofstream(*path) << std::string(bytes, 'x');
}

bool there(const Artifacts& artifacts, const std::string& name) {
  return std::filesystem::exists(artifacts.directory() + "/" + name);
}

Artifacts made(const std::string& path, ArtifactLimits limits) {
  auto artifacts = Artifacts::create(path, limits);
  EXPECT_TRUE(artifacts) << artifacts.error().describe();
  return std::move(*artifacts);
}

TEST(Artifacts, CleanOldestGoFirstKeptOnesLast) {
  const scratch::Directory directory;
  const Artifacts artifacts = made(directory.file("artifacts"), {2500, 100, std::chrono::hours(1)});
  for (int i = 0; i < 4; ++i) put(artifacts, i, "qemu.log", 1000);
  std::ofstream(artifacts.path_for("run.log")) << std::string(100, 'x');
  ASSERT_TRUE(artifacts.keep(0));
  EXPECT_EQ(artifacts.prune().value(), 2000u);
  EXPECT_TRUE(there(artifacts, "i00000000/qemu.log"));
  EXPECT_FALSE(there(artifacts, "i00000001"));
  EXPECT_FALSE(there(artifacts, "i00000002"));
  EXPECT_TRUE(there(artifacts, "i00000003/qemu.log"));
  EXPECT_TRUE(there(artifacts, "run.log"));
  EXPECT_EQ(artifacts.prune().value(), 0u);
  // Even what is kept is bounded.
  ASSERT_TRUE(artifacts.keep(3));
  put(artifacts, 3, "core", 1000);
  EXPECT_EQ(artifacts.prune().value(), 1000u);
  EXPECT_FALSE(there(artifacts, "i00000000"));
  EXPECT_TRUE(there(artifacts, "i00000003/core"));
}

TEST(Artifacts, BoundedInNumberAndAge) {
  const scratch::Directory directory;
  const Artifacts artifacts = made(directory.file("a"), {1 << 20, 3, std::chrono::hours(24)});
  for (int i = 0; i < 5; ++i) put(artifacts, i, "log", 1);
  ASSERT_TRUE(artifacts.prune());
  EXPECT_FALSE(there(artifacts, "i00000001"));
  EXPECT_TRUE(there(artifacts, "i00000002"));
  const auto old = std::filesystem::file_time_type::clock::now() - std::chrono::hours(48);
  std::filesystem::last_write_time(artifacts.directory() + "/i00000003/log", old);
  std::filesystem::last_write_time(artifacts.directory() + "/i00000003", old);
  ASSERT_TRUE(artifacts.prune());
  EXPECT_TRUE(there(artifacts, "i00000002"));
  EXPECT_FALSE(there(artifacts, "i00000003"));
  EXPECT_TRUE(there(artifacts, "i00000004"));
}

TEST(Artifacts, NamesStayInsideAndLinksAreNotFollowed) {
  const scratch::Directory directory;
  const Artifacts artifacts = made(directory.file("a"), {0, 0, std::chrono::hours(1)});
  EXPECT_EQ(artifacts.path_for("../../etc/passwd"), artifacts.directory() + "/_.._.._etc_passwd");
  EXPECT_EQ(artifacts.path_for(""), artifacts.directory() + "/_");
  EXPECT_EQ(*artifacts.path_for(7, "a b\n"), artifacts.directory() + "/i00000007/a_b_");
  std::filesystem::create_directory(directory.file("victim"));
  std::ofstream(directory.file("victim/precious")) << "x";
  ASSERT_EQ(::symlink(directory.file("victim").c_str(), (artifacts.directory() + "/i00000009").c_str()), 0);
  ASSERT_EQ(::symlink(directory.file("victim").c_str(), (artifacts.directory() + "/i00000007/link").c_str()), 0);
  put(artifacts, 7, "log", 10);
  ASSERT_TRUE(artifacts.prune());
  EXPECT_FALSE(there(artifacts, "i00000007"));
  EXPECT_TRUE(std::filesystem::exists(directory.file("victim/precious")));
}

TEST(Artifacts, TroubleIsSaid) {
  const scratch::Directory directory;
  EXPECT_FALSE(Artifacts::create(directory.file("none/a")));
  std::ofstream(directory.file("file")) << "x";
  EXPECT_FALSE(Artifacts::create(directory.file("file")));
  const Artifacts artifacts = made(directory.file("a"), {});
  EXPECT_TRUE(artifacts.keep(5)) << "an iteration without artifacts has nothing to keep";
  std::filesystem::remove_all(artifacts.directory());
  EXPECT_FALSE(artifacts.prune());
  EXPECT_FALSE(artifacts.path_for(1, "log"));
}

}  // namespace
}  // namespace migsoak::store
