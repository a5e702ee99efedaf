#include "ops/upgrade_mode_fixture.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/unique_fd.h"

namespace migsoak::ops {

using hypervisor::Machine;
using hypervisor::MachineSpec;
using hypervisor::soon;
namespace fs = std::filesystem;

namespace {

constexpr off_t kPatternAt = 32 << 20;  // above all that the firmware uses
constexpr std::uint32_t kPattern = 0x6d69673f;

}  // namespace

void UpgradeMode::TearDown() {
  source_.reset();
  destination_.reset();
  EXPECT_THAT(files_left(), ::testing::IsEmpty());
  for (const auto& entry : fs::directory_iterator(run_dir_->path())) {
    if (entry.path().filename() != "owner") fs::remove(entry.path());
  }
  RealQemu::TearDown();
}

// Sockets and state files; not what the test itself put there.
std::vector<std::string> UpgradeMode::files_left() const {
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(run_dir_->path())) {
    const std::string name = entry.path().filename();
    if (name == "owner" || entry.path().extension() == ".ram" || entry.path().extension() == ".sh") continue;
    if (source_ != nullptr && name.rfind(source_->spec().instance + ".", 0) == 0) continue;
    left.push_back(name);
  }
  return left;
}

std::string UpgradeMode::write_script(const std::string& name, const std::string& text) const {
  const std::string path = run_dir_->path() + "/" + name + ".sh";
  std::ofstream(path) << text;
  ::chmod(path.c_str(), 0755);
  return path;
}

MachineSpec UpgradeMode::build_spec(const std::string& build, const std::string& instance, Ram ram) {
  MachineSpec machine = spec(instance);
  if (ram == Ram::file) machine.ram_path = run_dir_->path() + "/" + instance + ".ram";
  if (build == kSystemBuild) return machine;
  const auto found = fleet::build_of(build);
  if (!found) {
    ADD_FAILURE() << fleet::missing_build({build});
    return machine;
  }
  machine.qemu = found->binary;
  machine.qemu_args = found->args;
  machine.env = found->env;
  machine.version = found->version;
  // What all that migrate to each other here know.
  machine.machine = found->at_least(7, 2) ? "pc-q35-7.2" : "q35";
  machine.aux_ram_share = found->at_least(10, 0);
  return machine;
}

void UpgradeMode::start(const std::string& build, Ram ram) {
  ram_ = ram;
  source_ = raise(build_spec(build, fmt::format("q{}", instances_++), ram));
  ASSERT_NE(source_, nullptr);
  write_pattern();
  ASSERT_TRUE(has_pattern());
}

MachineSpec UpgradeMode::next_spec(const std::string& mode, const std::string& build) {
  const Mode& how = *find_mode(mode);
  MachineSpec next = build_spec(build, fmt::format("q{}", instances_++), ram_);
  next.incoming = true;
  if (how.needs.same_ram) next.ram_path = source_->spec().ram_path;
  const std::string base = run_dir_->path() + "/" + next.instance;
  state_file_ = base + ".state";
  if (how.needs.process_order == ProcessOrder::waiting) next.incoming_channels = cpr_incoming(base + ".m", base + ".x");
  if (how.needs.process_order == ProcessOrder::in_place) next.incoming_channels = {"file:" + state_file_};
  return next;
}

MigrationOutcome UpgradeMode::upgrade(const std::string& mode, const std::string& build) {
  return upgrade(mode, next_spec(mode, build));
}

MigrationOutcome UpgradeMode::upgrade(const std::string& mode, MachineSpec next) {
  const Mode& how = *find_mode(mode);
  const ProcessOrder order = how.needs.process_order;
  EXPECT_TRUE(check_ram_sharing(how, source_->spec(), next));
  destination_.reset();
  if (order == ProcessOrder::beside) destination_ = raise(next);
  if (order == ProcessOrder::waiting) {
    auto spawned = spawn(next);
    EXPECT_TRUE(spawned) << spawned.error().describe();
    if (spawned) destination_ = std::move(*spawned);
  }
  const std::string base = run_dir_->path() + "/" + next.instance;
  MigrationChannels channels{"unix", run_dir_->path(), next.instance, base + ".m", base + ".x", base + ".state"};
  Told listener;
  MigrationContext context{reactor_, listener, source_.get(), destination_.get(), std::move(channels), deadline_};
  if (order == ProcessOrder::in_place && tells_exec_) {
    MachineSpec becomes = next;
    if (sabotage_exec_) sabotage_exec_(becomes);
    EXPECT_TRUE(source_->set_exec(becomes));
  }
  listener.on_release = [&]() -> base::Result<void> {
    EXPECT_TRUE(source_->quit(soon()));
    source_.reset();
    return {};
  };
  listener.on_raise = [&, next](base::Deadline by) -> base::Result<Machine*> {
    if (order == ProcessOrder::afterwards) {
      MIGSOAK_ASSIGN(destination_, spawn(next));
    } else if (order == ProcessOrder::in_place) {
      MIGSOAK_ASSIGN(destination_, driver().take_over(*source_, next));
      source_.reset();
    }
    MIGSOAK_TRY(destination_->wait_ready(by));
    return destination_.get();
  };
  if (sabotage_) sabotage_(context);
  if (sabotage_listener_) sabotage_listener_(listener);
  const MigrationOutcome outcome = how.run(context);
  state_file_ = context.channels.state_file;
  if (outcome.result == MigrationResult::completed && !outcome.interrupted) {
    if (source_ != nullptr) {
      // A little after "completed".
      const auto gone = [&] { return run_state(*source_) == "postmigrate"; };
      EXPECT_EQ(reactor_.run_until(gone, soon(), std::chrono::milliseconds(2)), proc::Wait::ready);
      EXPECT_TRUE(source_->quit(soon()));
    }
    source_ = std::move(destination_);
  }
  return outcome;
}

void UpgradeMode::expect_upgrade(const std::string& mode, const std::string& build) {
  SCOPED_TRACE(mode + " to " + build);
  const MigrationOutcome outcome = upgrade(mode, build);
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  EXPECT_EQ(outcome.error, "");
  EXPECT_GT(outcome.total_ms, 0);
  ASSERT_NE(source_, nullptr);
  EXPECT_EQ(run_state(*source_), "running");
  EXPECT_TRUE(has_pattern());
  EXPECT_THAT(files_left(), ::testing::IsEmpty());
}

// Into the RAM itself, by the descriptor that QEMU has of it.
void UpgradeMode::write_pattern() {
  const std::string fds = fmt::format("/proc/{}/fd", source_->qemu_pid());
  for (const auto& entry : fs::directory_iterator(fds)) {
    std::error_code gone;
    const std::string target = fs::read_symlink(entry.path(), gone).string();
    if (target.find("memory-backend-memfd") == std::string::npos && target != source_->spec().ram_path) continue;
    const base::UniqueFd ram(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::pwrite(ram.get(), &kPattern, sizeof(kPattern), kPatternAt), static_cast<ssize_t>(sizeof(kPattern)));
    return;
  }
  ADD_FAILURE() << "no RAM among the descriptors of " << fds;
}

bool UpgradeMode::has_pattern() {
  const auto text = source_->qmp().execute("human-monitor-command",
                                           {{"command-line", fmt::format("xp /1wx {:#x}", kPatternAt)}}, soon());
  return text && text->is_string() &&
         text->get<std::string>().find(fmt::format("{:#010x}", kPattern)) != std::string::npos;
}

}  // namespace migsoak::ops
