#include "run_migsoak.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace migsoak::integration {

namespace fs = std::filesystem;
using std::chrono::seconds;

std::string two_sides() {
  return R"([[side]]
name = "a"
[[side]]
name = "b"
)";
}

std::string served_disk(const std::string& of_target) {
  return R"([[target]]
name = "disk0"
)" + of_target +
         R"([[device]]
id = "vd0"
type = "vhost-user-blk"
target = "disk0"
)";
}

namespace {

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> merged_environment(const Environment& extra) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (extra.count(text.substr(0, text.find('='))) == 0) merged.push_back(text);
  }
  for (const auto& [key, value] : extra) merged.push_back(key + "=" + value);
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// MIGSOAK_TEST_BINARY: another one, for instance a copy that no build replaces in the middle of a test.
std::string binary() {
  const char* other = std::getenv("MIGSOAK_TEST_BINARY");
  return other != nullptr ? other : MIGSOAK_BINARY;
}

std::string shortened(const std::string& text) {
  constexpr std::size_t kMax = 6000;
  return text.size() <= kMax ? text : text.substr(0, kMax / 2) + "\n…\n" + text.substr(text.size() - kMax / 2);
}

}  // namespace

std::string describe(const Outcome& outcome) {
  return "exit status " + std::to_string(outcome.status) + (outcome.timed_out ? " (deadline passed)" : "") +
         "\n--- stdout\n" + shortened(outcome.out) + "\n--- stderr\n" + shortened(outcome.err);
}

Running::Running(const std::string& dir, const std::vector<std::string>& arguments, const Environment& extra) {
  std::string stem = dir + "/output-XXXXXX";
  const int unique = ::mkstemp(stem.data());
  if (unique >= 0) ::close(unique);
  out_path_ = stem;
  err_path_ = stem + ".err";
  std::vector<std::string> argv = {binary()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = merged_environment(extra);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, out_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::posix_spawn_file_actions_addopen(&actions, 2, err_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int error =
      ::posix_spawn(&pid_, argv.front().c_str(), &actions, nullptr, pointers(argv).data(), pointers(variables).data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    pid_ = -1;
    ADD_FAILURE() << "can't start " << argv.front() << ": errno " << error;
  }
}

Running::~Running() {
  if (pid_ > 0 && !ended_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void Running::signal(int number) const {
  if (pid_ > 0 && !ended_) ::kill(pid_, number);
}

std::string Running::out() const {
  return slurp(out_path_);
}
std::string Running::err() const {
  return slurp(err_path_);
}

bool Running::ended() const {
  siginfo_t info{};
  return pid_ <= 0 || ended_ ||
         (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_);
}

Outcome Running::wait(seconds deadline) {
  Outcome outcome;
  if (pid_ <= 0 || ended_) return outcome;
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  pollfd readiness{pidfd, POLLIN, 0};
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(deadline).count();
  outcome.timed_out = ::poll(&readiness, 1, static_cast<int>(milliseconds)) <= 0;
  ::close(pidfd);
  if (outcome.timed_out) ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  ended_ = true;
  if (!outcome.timed_out) outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = out();
  outcome.err = err();
  return outcome;
}

void MigsoakTest::SetUp() {
  // Short, and not in a place that TMPDIR makes long: sockets lie below it.
  char name[] = "/tmp/ms-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  dir_ = name;
  run_base_ = dir_ + "/r";
  fs::create_directory(run_base_);
  environment["MIGSOAK_RUN_BASE"] = run_base_;
}

void MigsoakTest::TearDown() {
  if (dir_.empty()) return;
  expect_nothing_left();
  for (const pid_t pid : processes()) ::kill(pid, SIGKILL);
  std::error_code ignored;
  if (!HasFailure() || std::getenv("MIGSOAK_KEEP") == nullptr) fs::remove_all(dir_, ignored);
}

std::string MigsoakTest::write(const std::string& name, const std::string& text) const {
  std::ofstream(path(name), std::ios::binary) << text;
  return path(name);
}

std::string MigsoakTest::read(const std::string& path) {
  return slurp(path);
}

std::string MigsoakTest::fault(const std::string& name) {
  const std::string shim = std::string(MIGSOAK_FAULTS_DIR) + "/lib" + name + ".so";
  const std::string wrapper = std::string(MIGSOAK_FAULTS_DIR) + "/" + name;
  const bool is_shim = ::access(shim.c_str(), R_OK) == 0;
  EXPECT_TRUE(is_shim || ::access(wrapper.c_str(), X_OK) == 0) << "no fault of that name: " << name;
  return is_shim ? shim : wrapper;
}

Running MigsoakTest::start(const std::vector<std::string>& arguments) const {
  return Running(dir_, arguments, environment);
}

Outcome MigsoakTest::migsoak(const std::vector<std::string>& arguments, seconds deadline) const {
  Running running = start(arguments);
  return running.wait(deadline);
}

base::Json MigsoakTest::findings(const std::string& db) const {
  const Outcome outcome = migsoak({"findings", db, "--json"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  base::Json json = base::Json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object()) << describe(outcome);
  if (!json.is_object() || !json.contains("findings")) json = {{"findings", base::Json::array()}};
  return json;
}

base::Json MigsoakTest::only(const base::Json& findings, const std::string& detector) {
  std::vector<base::Json> found;
  for (const base::Json& finding : findings["findings"]) {
    if (finding.value("detector", "") == detector) found.push_back(finding);
  }
  EXPECT_EQ(found.size(), 1U) << "findings of " << detector << " in\n" << findings.dump(2);
  return found.size() == 1 ? found.front() : base::Json::object();
}

std::string MigsoakTest::command_line(pid_t pid) {
  std::string text = slurp("/proc/" + std::to_string(pid) + "/cmdline");
  for (char& c : text) {
    if (c == '\0') c = ' ';
  }
  return text;
}

std::vector<pid_t> MigsoakTest::processes() const {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (std::isdigit(static_cast<unsigned char>(name.front())) == 0) continue;
    const pid_t pid = static_cast<pid_t>(std::stol(name));
    if (pid == ::getpid()) continue;
    const bool marked = slurp("/proc/" + name + "/environ").find("MIGSOAK_RUN_BASE=" + run_base_) != std::string::npos;
    if (marked || command_line(pid).find(run_base_) != std::string::npos) found.push_back(pid);
  }
  return found;
}

std::vector<std::string> MigsoakTest::run_files() const {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(run_base_, error), end; entry != end; entry.increment(error)) {
    if (error) break;
    if (!entry->is_directory(error)) found.push_back(entry->path());
  }
  return found;
}

void MigsoakTest::pause() {
  ::usleep(20'000);
}

void MigsoakTest::expect_nothing_left() const {
  const bool gone = eventually([this] { return processes().empty() && run_files().empty(); }, seconds(2));
  if (gone) return;
  std::string left;
  for (const pid_t pid : processes()) left += "\nprocess " + std::to_string(pid) + ": " + command_line(pid);
  for (const std::string& file : run_files()) left += "\nfile " + file;
  ADD_FAILURE() << "left behind:" << left;
}

std::string missing_libvirt() {
  if (!fs::exists("/usr/sbin/libvirtd")) return "no libvirtd here (apt-get install libvirt-daemon)";
  const bool mounts = ::geteuid() != 0 || std::system("unshare --mount --propagation private true 2>/dev/null") == 0;
  return mounts ? "" : "root, and no mount namespace here";
}

}  // namespace migsoak::integration
