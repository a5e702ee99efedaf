// The user's own builds, with the system's QEMU in that part; and what a word means.
#include <fmt/format.h>

#include "base/text.h"
#include "fleet/inspect.h"
#include "fleet_fixture.h"

namespace migsoak::fleet {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Own : public FleetTest {
 protected:
  base::Result<Added> add(const std::string& name, const std::string& path) {
    return add_local(host(), {name, path, {}, {}}, soon());
  }
};

TEST(Inspect, DeviceHelp) {
  const auto types = parse_device_help(
      "Controller/Bridge/Hub devices:\n"
      "name \"i82801b11-bridge\", bus PCI\n"
      "name \"virtio-blk-pci\", bus PCI, alias \"virtio-blk\"\n\n"
      "name \"pc-dimm\", desc \"DIMM, bus PCI, alias \"x\"\"\n"
      "name \"AC97\", bus PCI, alias \"ac97\", desc \"Intel 82801AA AC97 Audio\"\n"
      "something else\n");
  ASSERT_EQ(types.size(), 4U);
  EXPECT_EQ(types[0].bus, "PCI");
  EXPECT_EQ(types[1].alias, "virtio-blk");
  EXPECT_EQ(types[2].name, "pc-dimm");
  EXPECT_EQ(types[2].bus, "");
  EXPECT_EQ(types[2].alias, "");
  EXPECT_EQ(types[3].alias, "ac97");
}

TEST(Inspect, EnumsOfTheSchema) {
  const auto schema = base::parse_json(R"([
    {"name": "migrate-set-parameters", "meta-type": "command", "arg-type": "7"},
    {"name": "7", "meta-type": "object", "members": [{"name": "mode", "type": "8", "default": null}]},
    {"name": "8", "meta-type": "enum", "values": ["normal", "cpr-reboot"]},
    {"name": "migrate-set-capabilities", "meta-type": "command", "arg-type": "9"},
    {"name": "9", "meta-type": "object", "members": [{"name": "capabilities", "type": "[10]"}]},
    {"name": "[10]", "meta-type": "array", "element-type": "10"},
    {"name": "10", "meta-type": "object", "members": [{"name": "capability", "type": "11"}]},
    {"name": "11", "meta-type": "enum", "values": ["multifd"]}])");
  ASSERT_TRUE(schema.has_value());
  EXPECT_THAT(enum_values(*schema, "migrate-set-parameters", "mode"), ElementsAre("normal", "cpr-reboot"));
  EXPECT_THAT(enum_values(*schema, "migrate-set-capabilities", "capability", "capabilities"), ElementsAre("multifd"));
  EXPECT_THAT(enum_values(*schema, "migrate-set-parameters", "speed"), IsEmpty());
  EXPECT_THAT(enum_values(*schema, "no-such-command", "mode"), IsEmpty());
  EXPECT_THAT(enum_values(base::Json("nonsense"), "x", "y"), IsEmpty());
}

TEST_F(Own, IsQuestionedAndFoundAgain) {
  const auto added = add("mine", kSystemQemu);
  ASSERT_TRUE(added.has_value()) << added.error().describe();
  EXPECT_FALSE(added->was_there);
  const auto found = find("mine");
  ASSERT_TRUE(found.has_value() && found->has_value());
  const Build& build = **found;
  EXPECT_FALSE(build.stale);
  EXPECT_NE(build.machine("pc"), nullptr);
  EXPECT_NE(build.machine("q35"), nullptr);
  EXPECT_NE(build.machine("pc-i440fx-5.2"), nullptr);
  EXPECT_TRUE(build.has_device("virtio-blk-pci"));
  EXPECT_TRUE(build.has_device("vhost-user-blk-pci"));
  EXPECT_TRUE(build.has_mode("normal"));
  EXPECT_THAT(build.capabilities, Contains("multifd"));
  EXPECT_NE(build.program("qemu-storage-daemon"), "");
  EXPECT_EQ(build.program("no-such-program"), "");
  // Again is fine; for another binary the name is taken.
  EXPECT_TRUE(add("mine", kSystemQemu)->was_there);
  const std::string wrapper = write_script("wrapper", fmt::format("exec {} \"$@\"", kSystemQemu));
  const auto taken = add("mine", wrapper);
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().kind, base::ErrorKind::bad_input);
  EXPECT_THAT(taken.error().message, AllOf(HasSubstr("the name 'mine' is taken"), HasSubstr("migsoak fleet remove")));
  EXPECT_TRUE(remove(host(), "mine", soon()).has_value());
  EXPECT_TRUE(std::filesystem::exists(kSystemQemu));
}

TEST_F(Own, ANameOfAFetchedBuildIsTaken) {
  put_entry("qemu-11.1.2", "11.1.2", "debian:forky");
  for (const std::string name : {"qemu-11.1", "qemu-11.1.2"}) {
    const auto taken = add(name, kSystemQemu);
    ASSERT_FALSE(taken.has_value());
    EXPECT_THAT(taken.error().message, HasSubstr("is taken by debian:forky"));
  }
}

TEST_F(Own, NamesThatCannotBe) {
  for (const std::string name : {"", "a/b", "..", "-x", ".hidden", "a b", "debian:sid", "a\n"}) {
    const auto refused = add(name, kSystemQemu);
    ASSERT_FALSE(refused.has_value()) << name;
    EXPECT_EQ(refused.error().kind, base::ErrorKind::bad_input);
    EXPECT_THAT(refused.error().message, AllOf(HasSubstr("can't be a build's name"), Not(HasSubstr("\n"))));
  }
  EXPECT_THAT(folders(), IsEmpty());
}

TEST_F(Own, WhatIsNoQemu) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/bin/cat", "'/bin/cat' is not a QEMU: `--version` printed 'cat (GNU"},
      {"/nonexistent/qemu", "'/nonexistent/qemu' does not exist"},
      {"/usr/bin", "is a directory"},
      {"/etc/passwd", "'/etc/passwd' is not executable"},
      {write_script("silent", "exit 0"), "`--version` printed nothing"},
      {write_script("failing", "echo no; exit 3"), "`--version` ended with exit status 3 and said 'no'"},
      {write_script("liar", "echo QEMU emulator version 9.9.9"), "it says version 9.9.9, but QMP gave 0 of 2 answers"},
  };
  for (const auto& [path, why] : cases) {
    const auto refused = add("mine", path);
    ASSERT_FALSE(refused.has_value()) << path;
    EXPECT_EQ(refused.error().kind, base::ErrorKind::bad_input) << path;
    EXPECT_THAT(refused.error().message, HasSubstr(why));
  }
  EXPECT_THAT(folders(), IsEmpty());
}

TEST_F(Own, AWordIsAPathAProgramOrAName) {
  const auto path = resolve(host(), kSystemQemu, WhenMissing::refuse, soon());
  ASSERT_TRUE(path.has_value()) << path.error().describe();
  EXPECT_EQ(path->name, kSystemQemu);
  EXPECT_EQ(path->id, "");
  const auto program = resolve(host(), "qemu-system-x86_64", WhenMissing::refuse, soon());
  ASSERT_TRUE(program.has_value()) << program.error().describe();
  EXPECT_EQ(program->binary, path->binary);
  put_entry("qemu-11.1.2", "11.1.2", "debian:forky");
  const auto unknown = resolve(host(), "qemu-11.2", WhenMissing::refuse, soon());
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().kind, base::ErrorKind::bad_input);
  EXPECT_EQ(unknown.error().message,
            "no 'qemu-11.2' in PATH, and no build 'qemu-11.2' in the fleet, did you mean 'qemu-11.1'?; there are: "
            "qemu-11.1");
  const auto missing = resolve(host(), "debian:trixie", WhenMissing::refuse, soon());
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().message, "debian:trixie is not in the fleet: migsoak fleet add debian:trixie");
  const auto no_suite = resolve(host(), "debian:trixy", WhenMissing::refuse, soon());
  ASSERT_FALSE(no_suite.has_value());
  EXPECT_THAT(no_suite.error().message, HasSubstr("did you mean 'debian:trixie'"));
}

TEST_F(Own, AChangedBinaryIsInspectedAnew) {
  const std::string wrapper = write_script("wrapper", fmt::format("exec {} \"$@\"", kSystemQemu));
  ASSERT_TRUE(add("mine", wrapper).has_value());
  const auto before = resolve(host(), "mine", WhenMissing::refuse, soon());
  ASSERT_TRUE(before.has_value());
  // It now says another version; everything else is still QEMU's answer.
  write_script(
      "wrapper",
      fmt::format("[ \"$1\" = --version ] && echo QEMU emulator version 99.1.0 && exit\nexec {} \"$@\"", kSystemQemu));
  const auto after = resolve(host(), "mine", WhenMissing::refuse, soon());
  ASSERT_TRUE(after.has_value()) << after.error().describe();
  EXPECT_NE(before->version, "99.1.0");
  EXPECT_EQ(after->version, "99.1.0");
  EXPECT_EQ(after->name, "mine");
  const auto kept = find("mine");
  ASSERT_TRUE(kept.has_value() && kept->has_value());
  EXPECT_FALSE((*kept)->stale);
  EXPECT_EQ((*kept)->version, "99.1.0");
}

TEST_F(Own, ArgumentsAndEnvironmentReachIt) {
  const std::string wrapper = write_script(
      "wrapper",
      fmt::format("[ \"$1\" = -L ] && [ \"$2\" = /firm ] && [ \"$SAY\" = so ] || exit 9\nexec {} \"$@\"", kSystemQemu));
  EXPECT_FALSE(add("mine", wrapper).has_value());
  const auto added = add_local(host(), {"mine", wrapper, {"-L", "/firm"}, {{"SAY", "so"}}}, soon());
  ASSERT_TRUE(added.has_value()) << added.error().describe();
  const auto found = find("mine");
  ASSERT_TRUE(found.has_value() && found->has_value());
  EXPECT_THAT((*found)->args, ElementsAre("-L", "/firm"));
  EXPECT_EQ((*found)->env.at("SAY"), "so");
}

}  // namespace
}  // namespace migsoak::fleet
