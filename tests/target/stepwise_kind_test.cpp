// Two kinds that no command line could describe, of the shapes that are to come.
//
// `by_rpc` is QEMU's storage daemon as SPDK's is used: it starts with nothing but a control socket, and serves its
// disks once it has been told to over it; asked over it, it says what it does, and ends. `by_client` is a backend that
// connects to the socket on which QEMU listens, as OVS and testpmd do; the test program plays it (main.cpp).
#include <gmock/gmock.h>
#include <signal.h>

#include <filesystem>
#include <string>

#include "proc/proc_fs.h"
#include "qmp/client.h"
#include "target_fixture.h"

namespace migsoak::target {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

base::Result<Layout> lay_out_by_rpc(const TargetSpec& spec, const OptionValues&) {
  Layout layout;
  MIGSOAK_ASSIGN(std::string control, socket_path(spec, ".rpc"));
  layout.argv = {"qemu-storage-daemon", "--chardev", fmt::format("socket,id=rpc,path={},server=on,wait=off", control),
                 "--monitor", "chardev=rpc"};
  layout.control = {std::move(control)};
  for (const ServedDevice& device : spec.devices) {
    for (const std::string& slot : spec.slots) {
      MIGSOAK_ASSIGN(std::string path, socket_path(spec, "." + slot));
      layout.endpoints[endpoint_key(device.id, slot)] = {device.type, std::move(path), Listener::target};
    }
  }
  return layout;
}

base::Result<void> connect_rpc(qmp::Client& rpc, const Running& target, base::Deadline deadline) {
  return rpc.connect(target.layout.control.front(), deadline, [&target] { return target.child.exited(); });
}

base::Result<void> configure_by_rpc(const Running& target, base::Deadline deadline) {
  qmp::Client rpc(target.reactor);
  MIGSOAK_TRY(connect_rpc(rpc, target, deadline));
  for (const ServedDevice& device : target.spec.devices) {
    MIGSOAK_TRY(rpc.execute("blockdev-add",
                            {{"driver", target.options.text("driver")},
                             {"node-name", device.id},
                             {"filename", device.image},
                             {"locking", "off"}},
                            deadline));
    for (const std::string& slot : target.spec.slots) {
      const std::string key = endpoint_key(device.id, slot);
      const base::Json address = {{"type", "unix"}, {"path", target.layout.endpoints.at(key).socket}};
      MIGSOAK_TRY(rpc.execute("block-export-add",
                              {{"type", "vhost-user-blk"},
                               {"id", "e-" + slot},
                               {"node-name", device.id},
                               {"writable", true},
                               {"addr", address}},
                              deadline));
    }
  }
  return {};
}

base::Result<Figures> statistics_by_rpc(const Running& target, base::Deadline deadline) {
  qmp::Client rpc(target.reactor);
  MIGSOAK_TRY(connect_rpc(rpc, target, deadline));
  MIGSOAK_ASSIGN(const base::Json exports, rpc.execute("query-block-exports", base::Json::object(), deadline));
  return Figures{{"exports", static_cast<double>(exports.size())}};
}

base::Result<void> end_by_rpc(const Running& target, base::Deadline deadline) {
  qmp::Client rpc(target.reactor);
  MIGSOAK_TRY(connect_rpc(rpc, target, deadline));
  (void)rpc.execute("quit", base::Json::object(), deadline);  // it may be gone before it has answered
  return {};
}

TargetKind by_rpc() {
  TargetKind kind{};
  kind.name = "by-rpc";
  kind.options = {{"driver", OptionType::text, "file", {}, 0, 0}};
  kind.serves = {EndpointType::block};
  kind.lay_out = lay_out_by_rpc;
  kind.configure = configure_by_rpc;
  kind.statistics = statistics_by_rpc;
  kind.ask_to_end = end_by_rpc;
  return kind;
}

base::Result<Layout> lay_out_by_client(const TargetSpec& spec, const OptionValues&) {
  Layout layout;
  std::error_code error;
  layout.argv = {std::filesystem::read_symlink("/proc/self/exe", error), "client"};
  for (const std::string& slot : spec.slots) {
    MIGSOAK_ASSIGN(std::string path, socket_path(spec, "." + slot));
    layout.argv.push_back(path);
    layout.endpoints[endpoint_key(spec.devices.front().id, slot)] = {EndpointType::net, path, Listener::qemu};
  }
  return layout;
}

TargetKind by_client() {
  TargetKind kind{};
  kind.name = "by-client";
  kind.serves = {EndpointType::net};
  kind.lay_out = lay_out_by_client;
  return kind;
}

class StepwiseKind : public TargetTest {
 protected:
  std::unique_ptr<Target> start_kind(const TargetKind& kind, TargetSpec spec) {
    auto target = start_target(reactor_, *containment_, kind, std::move(spec));
    EXPECT_TRUE(target) << target.error().describe();
    return target ? std::move(*target) : nullptr;
  }
  bool stops(Target& target) {
    return reactor_.run_until([&] { return target.stopped(); }, soon(), std::chrono::milliseconds(2)) ==
           proc::Wait::ready;
  }
  TargetKind by_rpc_ = by_rpc(), by_client_ = by_client();
};

TEST_F(StepwiseKind, is_ready_once_it_has_been_configured) {
  const auto target = start_kind(by_rpc_, spec_of("by-rpc"));
  EXPECT_FALSE(exists(target->connect("vd0", "a0").socket));
  const auto ready = target->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  for (const std::string& slot : target->spec().slots) EXPECT_TRUE(connects(target->connect("vd0", slot).socket));
  EXPECT_EQ(target->sockets().size(), 5U) << "its control socket is a file of its own";
  EXPECT_TRUE(target->has_spare_slots());
  // Not twice: the daemon would refuse a second node of the same name.
  EXPECT_TRUE(target->wait_ready(soon()));
}

TEST_F(StepwiseKind, says_what_it_counts_and_ends_as_its_kind_asks) {
  const auto target = start_kind(by_rpc_, spec_of("by-rpc"));
  ASSERT_TRUE(target->wait_ready(soon()));
  const auto figures = target->statistics(soon());
  ASSERT_TRUE(figures) << figures.error().describe();
  EXPECT_EQ(figures->at("exports"), 4);
  EXPECT_EQ(target->stop(kPatience).exit_code, 0);
  for (const std::string& socket : target->sockets()) EXPECT_FALSE(exists(socket));
}

TEST_F(StepwiseKind, a_kind_without_figures_has_none) {
  const auto target = start(daemon());
  const auto figures = target->statistics(soon());
  ASSERT_TRUE(figures);
  EXPECT_TRUE(figures->empty());
}

// It would not be a target of the same guest otherwise.
TEST_F(StepwiseKind, is_configured_again_after_each_restart) {
  const auto target = start_kind(by_rpc_, spec_of("by-rpc"));
  for (const StopHow how : {StopHow::graceful, StopHow::kill}) {
    const auto ready = target->wait_ready(soon());
    ASSERT_TRUE(ready) << ready.error().describe();
    target->begin_stop(how);
    ASSERT_TRUE(stops(*target));
    EXPECT_EQ(target->child().exit_status()->signal, how == StopHow::kill ? SIGKILL : 0);
    ASSERT_TRUE(target->start_again());
  }
  const auto ready = target->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  EXPECT_TRUE(connects(target->connect("vd0", "b1").socket));
}

TEST_F(StepwiseKind, one_that_refuses_to_be_configured_is_the_subjects_failure) {
  TargetSpec spec = spec_of("by-rpc");
  spec.options["driver"] = "no-such-driver";
  const auto target = start_kind(by_rpc_, spec);
  const auto ready = target->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, base::ErrorKind::subject);
  EXPECT_THAT(ready.error().describe(), AllOf(HasSubstr("target:disk0"), HasSubstr("no-such-driver")));
}

TEST_F(StepwiseKind, one_that_ends_before_it_is_configured_says_how) {
  TargetSpec spec = spec_of("by-rpc");
  spec.wrapper = {"/bin/sh", "-c", "echo no huge pages; exit 9", "wrapper"};
  const auto target = start_kind(by_rpc_, spec);
  const auto ready = target->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, base::ErrorKind::subject);
  EXPECT_THAT(ready.error().message,
              AllOf(HasSubstr("before it was configured"), HasSubstr("exit status 9"), HasSubstr("no huge pages")));
}

TEST_F(StepwiseKind, behind_a_wrapper_the_configured_pid_is_the_targets) {
  TargetSpec spec = spec_of("by-rpc");
  spec.wrapper = {"/bin/sh", "-c", "trap '' TERM; \"$@\"; exit 7", "wrapper"};
  const auto target = start_kind(by_rpc_, spec);
  const auto ready = target->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  EXPECT_EQ(proc::command_of(target->pid()), "qemu-storage-daemon");
  EXPECT_EQ(target->stop(kPatience).exit_code, 7);
}

class ClientKind : public StepwiseKind {
 protected:
  TargetSpec client_spec() {
    TargetSpec spec = spec_of("by-client");
    spec.devices = {{"n0", "", 1, EndpointType::net}};
    spec.slots = {"0", "1"};
    return spec;
  }
  // What QEMU does with server=on.
  static base::UniqueFd listen_at(const std::string& path) {
    base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 1), 0);
    return fd;
  }
  bool is_called_at(const base::UniqueFd& listener) {
    const auto accepted = [&] {
      return base::UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)).valid();
    };
    return reactor_.run_until(accepted, soon(), std::chrono::milliseconds(2)) == proc::Wait::ready;
  }
};

TEST_F(ClientKind, has_endpoints_on_which_qemu_listens) {
  const auto target = start_kind(by_client_, client_spec());
  const Endpoint& endpoint = target->connect("n0", "1");
  EXPECT_EQ(endpoint.type, EndpointType::net);
  EXPECT_EQ(endpoint.listener, Listener::qemu);
  EXPECT_TRUE(target->sockets().empty()) << "QEMU's files, not the target's";
  const auto ready = target->wait_ready(soon());
  EXPECT_TRUE(ready) << ready.error().describe();
}

TEST_F(ClientKind, comes_to_whoever_listens_there_and_comes_back) {
  const auto target = start_kind(by_client_, client_spec());
  ASSERT_TRUE(target->wait_ready(soon()));
  const base::UniqueFd first = listen_at(target->connect("n0", "0").socket);
  const base::UniqueFd second = listen_at(target->connect("n0", "1").socket);
  EXPECT_TRUE(is_called_at(first));
  EXPECT_TRUE(is_called_at(second));
  target->begin_stop(StopHow::kill);
  ASSERT_TRUE(stops(*target));
  ASSERT_TRUE(target->start_again());
  ASSERT_TRUE(target->wait_ready(soon()));
  EXPECT_TRUE(exists(target->connect("n0", "0").socket)) << "a QEMU still listens there";
  EXPECT_TRUE(is_called_at(first));
}

TEST_F(ClientKind, behind_a_wrapper_the_pid_is_found_by_its_program) {
  TargetSpec spec = client_spec();
  spec.wrapper = {"/bin/sh", "-c", "\"$@\"; exit 7", "wrapper"};
  const auto target = start_kind(by_client_, spec);
  const auto ready = target->wait_ready(soon());
  ASSERT_TRUE(ready) << ready.error().describe();
  EXPECT_THAT(proc::children_of(target->child().pid()), ElementsAre(target->pid()));
}

TEST_F(ClientKind, one_that_ends_at_once_is_the_subjects_failure) {
  TargetSpec spec = client_spec();
  spec.wrapper = {"/bin/sh", "-c", "exit 9", "wrapper"};
  const auto target = start_kind(by_client_, spec);
  ASSERT_EQ(reactor_.run_until([&] { return target->child().exited(); }, soon()), proc::Wait::ready);
  const auto ready = target->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().kind, base::ErrorKind::subject);
}

}  // namespace
}  // namespace migsoak::target
