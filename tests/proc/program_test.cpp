#include "proc/program.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace migsoak::proc {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ProgramSearch : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "program-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = fs::canonical(name);
    before_ = fs::current_path();
  }
  void TearDown() override {
    fs::current_path(before_);
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
  }
  std::string file(const std::string& name, int mode = 0755) const {
    const fs::path path = dir_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\n";
    ::chmod(path.c_str(), static_cast<mode_t>(mode));
    return path;
  }
  std::string folder(const std::string& name) const {
    fs::create_directories(dir_ / name);
    return dir_ / name;
  }
  // The refusal in full; empty when something was found.
  static std::string refusal(const std::string& name, const std::string& path) {
    const auto found = find_program(name, path);
    if (found) return "";
    EXPECT_EQ(found.error().kind, base::ErrorKind::bad_input) << name;
    EXPECT_THAT(found.error().message, Not(HasSubstr("\n")));
    return found.error().message;
  }

  fs::path dir_, before_;
};

TEST_F(ProgramSearch, TakesTheFirstInPathThatCanBeRun) {
  const std::string second = file("second/tool");
  file("third/tool");
  folder("is_a_folder/tool");
  file("not_executable/tool", 0644);
  const std::string path = "/no/such/folder:" + folder("is_a_folder") + ":" + folder("not_executable") + ":" +
                           file("a_file") + ":" + folder("second") + ":" + folder("third");
  EXPECT_EQ(find_program("tool", path).value(), second);
}

TEST_F(ProgramSearch, AnEmptyOrRelativeElementOfPathCountsFromTheCurrentDirectoryAndTheAnswerIsAbsolute) {
  const std::string here = file("here/tool"), below = file("here/bin/other");
  fs::current_path(dir_ / "here");
  for (const char* path : {"", ":/no/such", "/no/such:", "/no/such::/neither"}) {
    EXPECT_EQ(find_program("tool", path).value(), here) << path;
  }
  EXPECT_EQ(find_program("other", "bin").value(), below);
  EXPECT_EQ(find_program("bin/other", "/no/such").value(), below);
  EXPECT_EQ(find_program("./tool", "/no/such").value(), here);
}

TEST_F(ProgramSearch, ANameWithASlashIsNotLookedForInPath) {
  file("bin/tool");
  fs::current_path("/");
  EXPECT_THAT(refusal("./tool", folder("bin")), "'./tool' does not exist");
  EXPECT_THAT(refusal("bin-that-is-nowhere/tool", dir_), HasSubstr("does not exist"));
}

TEST_F(ProgramSearch, SaysWhatIsWrongWithAPath) {
  EXPECT_EQ(refusal("", "/bin"), "no program named");
  EXPECT_THAT(refusal(dir_ / "none", ""), AllOf(HasSubstr("none"), HasSubstr("does not exist")));
  EXPECT_THAT(refusal(folder("folder"), ""), HasSubstr("is a directory: give the program in it"));
  EXPECT_THAT(refusal(file("text", 0644), ""), HasSubstr("is not executable"));
  EXPECT_THAT(refusal(file("text", 0644) + "/below", ""), HasSubstr("Not a directory"));
  EXPECT_THAT(refusal("/dev/null", ""), HasSubstr("is not a file"));
  EXPECT_THAT(refusal(std::string("/bin/true\0x", 11), ""), HasSubstr("NUL"));
  EXPECT_THAT(refusal("/" + std::string(5000, 'x'), ""), HasSubstr("File name too long"));
  EXPECT_THAT(refusal("/no\x1b[31m", ""), HasSubstr("'/no\\x1b[31m'"));
}

TEST_F(ProgramSearch, SaysWhatWasPassedOverInPathAndWhatHelps) {
  EXPECT_EQ(refusal("no-such-tool", "/no/such"),
            "no 'no-such-tool' in PATH: give a path, or install it (migsoak doctor says how)");
  const std::string text = file("bin/tool", 0644);
  EXPECT_THAT(refusal("tool", folder("bin") + ":/no/such"),
              HasSubstr("no 'tool' in PATH; '" + text + "' is not executable: "));
  EXPECT_THAT(refusal("bin", dir_), HasSubstr("no 'bin' in PATH: ")) << "a folder of that name is no program";
}

TEST_F(ProgramSearch, KeepsLinksUntilTheyAreAskedToGo) {
  const std::string tool = file("bin/tool");
  fs::create_symlink(tool, dir_ / "bin/alias");
  fs::create_symlink("nowhere", dir_ / "bin/broken");
  const std::string path = dir_ / "bin";
  EXPECT_EQ(find_program("alias", path).value(), path + "/alias");
  EXPECT_EQ(without_links(path + "/alias"), tool);
  EXPECT_THAT(refusal("broken", path), HasSubstr("no 'broken' in PATH"));
  EXPECT_EQ(without_links(path + "/broken"), path + "/broken");
}

TEST_F(ProgramSearch, ByDefaultInTheHarnesssOwnPath) {
  const char* before = std::getenv("PATH");
  const std::string kept = before != nullptr ? before : "";
  const std::string tool = file("bin/only-here");
  ::setenv("PATH", (dir_ / "bin").c_str(), 1);
  EXPECT_EQ(find_program("only-here").value(), tool);
  ::unsetenv("PATH");
  EXPECT_EQ(search_path(), "/usr/bin:/bin");
  EXPECT_TRUE(find_program("sh"));
  ::setenv("PATH", kept.c_str(), 1);
}

}  // namespace
}  // namespace migsoak::proc
