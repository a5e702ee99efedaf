#include "fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <sstream>

namespace migsoak::probes {

// ---------------------------------------------------------------------------------------- the fixture's own side

namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

long listen_on(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return -1;
  return ::listen(fd, 4) == 0 ? fd : -1;
}

long connect_to(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? fd : -1;
}

long fork_child(const std::function<void()>& job) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::close(kFixtureFd);
  job();
  ::_exit(0);
}

void wait_forever() {
  for (;;) ::pause();
}

// A child that has a child; the first dies on `kill`, the second lives on.
long fork_family() {
  int tell[2];
  if (::pipe2(tell, O_CLOEXEC) != 0) return -1;
  const long child = fork_child([&] {
    const long grandchild = fork_child(wait_forever);
    if (::write(tell[1], &grandchild, sizeof grandchild) < 0) ::_exit(1);
    wait_forever();
  });
  long grandchild = -1;
  const bool told = ::read(tell[0], &grandchild, sizeof grandchild) == sizeof grandchild;
  ::close(tell[0]);
  ::close(tell[1]);
  return told ? child * 100000000 + grandchild : -1;
}

// What a daemon does to lose its origin: session of its own, no environment, no descriptors, parent gone.
long leave_behind() {
  int tell[2];
  if (::pipe2(tell, 0) != 0) return -1;
  const long child = fork_child([&] {
    ::setsid();
    const pid_t grandchild = ::fork();
    if (grandchild != 0) ::_exit(0);
    ::close(tell[0]);
    ::close(tell[1]);
    char name[] = "left-behind", seconds[] = "3600";
    char* const argv[] = {name, seconds, nullptr};
    char* const environment[] = {nullptr};
    ::execve("/bin/sleep", argv, environment);
    ::_exit(127);
  });
  ::close(tell[0]);
  ::close(tell[1]);
  ::waitpid(static_cast<pid_t>(child), nullptr, 0);
  return 0;
}

void* idle_thread(void*) {
  wait_forever();
  return nullptr;
}

long start_thread() {
  pthread_t thread;
  return ::pthread_create(&thread, nullptr, idle_thread, nullptr) == 0 ? 0 : -1;
}

// Touches that many MiB, kept for good.
long take_memory(long mebibytes) {
  const std::size_t bytes = static_cast<std::size_t>(mebibytes) << 20;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -1;
  std::memset(memory, 1, bytes);
  return 0;
}

long renew_eventfd(int fd) {
  const int fresh = ::eventfd(0, EFD_CLOEXEC);  // while the old one lives: another id for certain
  const int renewed = ::dup3(fresh, fd, O_CLOEXEC);
  ::close(fresh);
  return renewed;
}

long create_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  return fd >= 0 && ::write(fd, "0123456789", 10) == 10 ? fd : -1;
}

long socket_pair() {
  int ends[2];
  return ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 ? ends[0] * 1000 + ends[1] : -1;
}

long set_close_on_exec(int fd, bool on) {
  return ::fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

long map_file(int fd) {
  constexpr std::size_t kBytes = 4096;
  if (::ftruncate(fd, kBytes) != 0) return -1;
  return ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0;
}

const std::map<std::string, long (*)(const std::string&)>& commands() {
  using Text = const std::string&;
  static const std::map<std::string, long (*)(Text)> table = {
      {"eventfd", [](Text) -> long { return ::eventfd(0, EFD_CLOEXEC); }},
      {"renew", [](Text fd) { return renew_eventfd(std::atoi(fd.c_str())); }},
      {"memfd", [](Text name) -> long { return ::memfd_create(name.c_str(), MFD_CLOEXEC); }},
      {"epoll", [](Text) -> long { return ::epoll_create1(EPOLL_CLOEXEC); }},
      {"close", [](Text fd) -> long { return ::close(std::atoi(fd.c_str())); }},
      {"listen", [](Text path) { return listen_on(path); }},
      {"connect", [](Text path) { return connect_to(path); }},
      {"accept", [](Text fd) -> long { return ::accept4(std::atoi(fd.c_str()), nullptr, nullptr, SOCK_CLOEXEC); }},
      {"socketpair", [](Text) { return socket_pair(); }},
      {"zombie", [](Text) { return fork_child([] {}); }},
      {"child", [](Text) { return fork_child(wait_forever); }},
      {"family", [](Text) { return fork_family(); }},
      {"reap", [](Text pid) -> long { return ::waitpid(std::atoi(pid.c_str()), nullptr, 0); }},
      {"left-behind", [](Text) { return leave_behind(); }},
      {"thread", [](Text) { return start_thread(); }},
      {"memory", [](Text mebibytes) { return take_memory(std::atol(mebibytes.c_str())); }},
      {"file", [](Text path) { return create_file(path); }},
      {"hand-down", [](Text fd) { return set_close_on_exec(std::atoi(fd.c_str()), false); }},
      {"close-on-exec", [](Text fd) { return set_close_on_exec(std::atoi(fd.c_str()), true); }},
      {"map", [](Text fd) { return map_file(std::atoi(fd.c_str())); }},
      {"pid", [](Text) -> long { return ::getpid(); }},
  };
  return table;
}

}  // namespace

int fixture_main() {
  std::string buffer;
  char chunk[512];
  for (;;) {
    const ssize_t bytes = ::read(kFixtureFd, chunk, sizeof chunk);
    if (bytes <= 0) return 0;
    buffer.append(chunk, static_cast<std::size_t>(bytes));
    for (std::size_t end = buffer.find('\n'); end != std::string::npos; end = buffer.find('\n')) {
      const std::string line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      const std::size_t space = line.find(' ');
      const auto command = commands().find(line.substr(0, space));
      const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
      const std::string answer = std::to_string(command == commands().end() ? -1 : command->second(argument)) + "\n";
      const bool exec = line == "exec";
      if (::write(kFixtureFd, exec ? "0\n" : answer.data(), exec ? 2 : answer.size()) < 0) return 1;
      if (exec) {
        char path[] = "/proc/self/exe", word[] = "fixture";
        char* const argv[] = {path, word, nullptr};
        ::execv(path, argv);
        return 1;
      }
    }
  }
}

// ---------------------------------------------------------------------------------------- the test's side

Fixture::Fixture(proc::Reactor& reactor, proc::Containment& containment, const std::string& name) {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  socket_.reset(ends[0]);
  const base::UniqueFd theirs(ends[1]);
  const timeval patience{kPatience.count(), 0};
  ::setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);

  proc::SpawnSpec spec;
  spec.name = name;
  spec.argv = {"/proc/self/exe", "fixture"};
  spec.env = {{"MIGSOAK_PROCESS", name}};
  spec.extra_fds = {{kFixtureFd, ends[1]}};
  auto child = proc::ChildProcess::spawn(reactor, containment, std::move(spec));
  if (!child) throw std::runtime_error(child.error().describe());
  child_ = std::move(*child);
  EXPECT_GT(tell("pid"), 0);  // it runs its own code now, not the spawner's
}

long Fixture::tell(const std::string& command) {
  const std::string line = command + "\n";
  EXPECT_EQ(::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL), static_cast<ssize_t>(line.size()));
  char answer[64] = {};
  const ssize_t bytes = ::recv(socket_.get(), answer, sizeof answer - 1, 0);
  EXPECT_GT(bytes, 0) << "the fixture did not answer " << command;
  const long value = bytes > 0 ? std::atol(answer) : -1;
  EXPECT_GE(value, 0) << command;
  return value;
}

void ProbesTest::SetUp() {
  auto run_dir = proc::RunDir::create("probes-test");
  ASSERT_TRUE(run_dir) << run_dir.error().describe();
  run_dir_ = std::move(*run_dir);
  auto containment = proc::Containment::start({"probes-test", run_dir_->path(), ""});
  ASSERT_TRUE(containment) << containment.error().describe();
  containment_ = std::move(*containment);
}

Subject ProbesTest::subject_of(const std::string& name, std::int64_t process_id, pid_t pid) {
  Subject subject;
  subject.name = name;
  subject.process_id = process_id;
  subject.pid = pid;
  return subject;
}

Scene ProbesTest::scene_of(std::vector<Subject> subjects) {
  Scene scene;
  scene.guardian_pid = containment_->guardian_pid();
  scene.reparented = containment_->reparented();
  scene.known_processes = known_;
  scene.known_processes.insert(scene.guardian_pid);
  for (const Subject& subject : subjects) scene.known_processes.insert(subject.pid);
  scene.subjects = std::move(subjects);
  scene.run_dir = run_dir_->path();
  scene.expected_files = expected_files_;
  scene.looked_into = looked_into_;
  scene.owners = owners_;
  return scene;
}

record::Observation ProbesTest::look(std::vector<Subject> subjects) {
  record::Observation observation;
  Scene scene = scene_of(std::move(subjects));
  run_probes(scene, state_, observation);
  return observation;
}

bool ProbesTest::wait_until(const std::function<bool()>& condition) {
  return reactor_.run_until(condition, base::Deadline::in(kPatience), std::chrono::milliseconds(2)) ==
         proc::Wait::ready;
}

double sample(const record::Observation& observation, const std::string& subject, const std::string& metric) {
  for (const record::Sample& one : observation.samples) {
    if (one.subject == subject && one.metric == metric) return one.value;
  }
  ADD_FAILURE() << "no sample " << metric << " of " << subject;
  return std::numeric_limits<double>::quiet_NaN();
}

bool has_sample(const record::Observation& observation, const std::string& subject, const std::string& metric) {
  for (const record::Sample& one : observation.samples) {
    if (one.subject == subject && one.metric == metric) return true;
  }
  return false;
}

std::vector<record::Event> events(const record::Observation& observation, const std::string& kind) {
  std::vector<record::Event> found;
  for (const record::Event& event : observation.events) {
    if (event.kind == kind) found.push_back(event);
  }
  return found;
}

std::string birth_detail(const record::Observation& observation, std::int64_t process_id, int fd) {
  for (const record::DescriptorBirth& birth : observation.births) {
    if (birth.process_id == process_id && birth.fd == fd) return birth.kind + " " + birth.detail;
  }
  return "no birth";
}

}  // namespace migsoak::probes
