// A program, or a working directory, on a file system that does not answer.
#include "proc/spawn.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/deadline.h"

namespace migsoak::proc {
namespace {

// A FUSE file system whose server never says a word: every look-up in it waits. Its end lets all go on, with an error.
class HangingMount {
 public:
  HangingMount() {
    if (::mkdtemp(path_.data()) == nullptr) return;
    server_.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    const std::string options = "fd=" + std::to_string(server_.get()) + ",rootmode=40000,user_id=0,group_id=0";
    mounted_ = server_.valid() && ::mount("hanging", path_.c_str(), "fuse", 0, options.c_str()) == 0;
  }
  ~HangingMount() {
    server_.reset();
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
    ::rmdir(path_.c_str());
  }
  HangingMount(const HangingMount&) = delete;
  HangingMount& operator=(const HangingMount&) = delete;
  bool mounted() const { return mounted_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/migsoak-hanging-XXXXXX";
  base::UniqueFd server_;
  bool mounted_ = false;
};

TEST(Spawn, AFileSystemThatHangsIsNotWaitedForForEver) {
  const HangingMount mount;
  if (!mount.mounted()) GTEST_SKIP() << "no FUSE file system can be mounted here (needs root)";
  const base::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  SpawnRequest request;
  request.name = "child";
  request.fds = {{0, null.get()}, {1, null.get()}, {2, null.get()}};
  request.parent_seen_by_child = ::getpid();
  request.exec_max = std::chrono::milliseconds(300);
  request.argv = {mount.path() + "/program"};
  for (const char* where : {"program", "working directory"}) {
    SCOPED_TRACE(where);
    const auto began = base::Clock::now();
    const auto spawned = spawn_process(request);
    ASSERT_FALSE(spawned);
    EXPECT_EQ(spawned.error().kind, base::ErrorKind::environment);
    EXPECT_THAT(spawned.error().describe(),
                ::testing::AllOf(::testing::HasSubstr("child"), ::testing::HasSubstr("hang")));
    EXPECT_LT(base::milliseconds_between(began, base::Clock::now()), 30'000);
    request.argv = {"/bin/true"};
    request.working_dir = mount.path();
  }
}

}  // namespace
}  // namespace migsoak::proc
