// xml-drift and split-brain over synthetic soaks: two daemons that tell what they have.
#include <gmock/gmock.h>

#include "config_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
using ::testing::HasSubstr;

base::Json domain(const std::string& state, const std::vector<std::string>& devices = {"vd0"},
                  const std::string& name = "guest") {
  return {{"name", name}, {"state", state}, {"persistent", false}, {"devices", devices}};
}

void tell(record::Observation& o, const std::string& side, const std::vector<base::Json>& domains,
          const char* point = "arrived") {
  o.documents.push_back({record::document_kind::kDomains,
                         "libvirtd:" + side,
                         side == "a" ? 90 : 91,
                         point,
                         {{"count", domains.size()}, {"domains", domains}}});
}

void give_devices(record::Observation& o) {
  for (const std::string& side : {o.plan.source_side, o.plan.destination_side}) {
    o.documents.push_back({record::document_kind::kDeviceSet,
                           "qemu:" + side,
                           1,
                           side == o.plan.source_side ? "source" : "destination",
                           {{"devices", {{{"id", "vd0"}, {"type", "vhost-user-blk"}}}}}});
  }
}

// Both daemons have what they should, but for what `change` makes of it in iteration 3 (from a on to b).
using Has = std::map<std::string, std::vector<base::Json>>;
std::vector<record::Finding> told(const std::function<void(Has&)>& change, const char* point = "arrived") {
  return judged(8, [&](record::Observation& o, Soak&) {
    give_devices(o);
    const bool stays = o.iteration == 2 && std::string(point) == "stayed";
    Has has{{"a", {}}, {"b", {}}};
    has[stays ? o.plan.source_side : o.plan.destination_side] = {domain("running")};
    if (o.iteration == 2) change(has);
    for (const auto& [side, domains] : has) tell(o, side, domains, stays ? point : "arrived");
  });
}

TEST(XmlDrift, QuietWhenEachHasWhatItShould) {
  EXPECT_TRUE(told([](Has&) {}).empty()) << describe(told([](Has&) {}));
  EXPECT_TRUE(told([](Has&) {}, "stayed").empty()) << describe(told([](Has&) {}, "stayed"));
}

// Of that name, at either end: it is not the guest's, and no fault of the daemon's.
TEST(XmlDrift, ADomainOfSomebodyElseIsNoSplitBrain) {
  for (const char* side : {"a", "b"}) {
    const auto found = told([side](Has& has) {
      has[side].insert(has[side].begin(), domain("running"));
      has[side].front()["foreign_uuid"] = "1111-2222";
    });
    ASSERT_EQ(found.size(), 1U) << describe(found);
    EXPECT_EQ(found[0].detector, "xml-drift");
    EXPECT_EQ(found[0].kind, "domain-foreign");
    EXPECT_EQ(found[0].process, std::string("libvirtd:") + side);
    EXPECT_EQ(found[0].blame, record::Blame::environment);
    EXPECT_THAT(found[0].title, HasSubstr("none of the run's (UUID 1111-2222)"));
  }
}

struct XmlRow {
  const char* detector;
  const char* kind;
  const char* process;
  const char* words;
  std::function<void(Has&)> change;
};

TEST(XmlDrift, EachDifferenceIsNamedOnce) {
  const std::vector<XmlRow> rows = {
      {"split-brain", "two-running", "libvirtd:a", "libvirtd:a and libvirtd:b both have the domain guest running",
       [](Has& has) { has["a"] = {domain("running")}; }},
      {"xml-drift", "domain-left", "libvirtd:a",
       "libvirtd:a still has the domain guest (shut off), while the guest is on b",
       [](Has& has) { has["a"] = {domain("shut off")}; }},
      {"xml-drift", "domain-missing", "libvirtd:b", "libvirtd:b knows no domain, while the guest is on b",
       [](Has& has) { has["b"].clear(); }},
      {"xml-drift", "domain-state", "libvirtd:b",
       "libvirtd:b says that the domain guest is paused, while the guest runs in it",
       [](Has& has) { has["b"] = {domain("paused")}; }},
      {"xml-drift", "domain-extra", "libvirtd:b", "libvirtd:b has the domain other (shut off), for which nobody asked",
       [](Has& has) { has["b"].push_back(domain("shut off", {}, "other")); }},
      {"xml-drift", "device-missing", "libvirtd:b", "the XML of libvirtd:b lacks vd0, which the guest has",
       [](Has& has) { has["b"] = {domain("running", {})}; }},
      {"xml-drift", "device-extra", "libvirtd:b", "the XML of libvirtd:b has vd9, which the guest should not have",
       [](Has& has) {
         has["b"] = {domain("running", {"vd0", "vd9"})};
       }},
  };
  for (const XmlRow& row : rows) {
    SCOPED_TRACE(row.kind);
    const auto findings = told(row.change);
    ASSERT_EQ(findings.size(), 1u) << describe(findings);
    EXPECT_EQ(findings[0].detector, row.detector);
    EXPECT_EQ(findings[0].kind, row.kind);
    EXPECT_EQ(findings[0].process, row.process);
    EXPECT_EQ(findings[0].detected_iteration, 2);
    EXPECT_EQ(findings[0].blame, record::Blame::subject);
    EXPECT_THAT(findings[0].title, HasSubstr(row.words));
  }
}

// Asked to keep its definition where it goes in iteration 1 (to a), and to drop it there when it leaves in iteration
// `dropped`; what the daemons have is what `has` says.
std::vector<record::Finding> keeping(int dropped, const std::function<void(std::int64_t, Has&)>& change) {
  return judged(6, [&](record::Observation& o, Soak&) {
    o.plan.libvirt.emplace();
    if (o.iteration == 1) o.plan.libvirt->flags = {"persist-dest"};
    if (o.iteration == dropped) o.plan.libvirt->flags = {"undefine-source"};
    Has has{{"a", {}}, {"b", {}}};
    has[o.plan.destination_side] = {domain("running")};
    change(o.iteration, has);
    for (const auto& [side, domains] : has) tell(o, side, domains);
  });
}
base::Json kept(const std::string& state) {
  base::Json entry = domain(state);
  entry["persistent"] = true;
  return entry;
}

TEST(XmlDrift, ADefinitionThatWasAskedForIsNoneThatIsLeft) {
  // Undefined before the guest comes back in iteration 3.
  const auto as_asked = [](std::int64_t iteration, Has& has) {
    if (iteration == 1) has["a"] = {kept("running")};
    if (iteration == 2) has["a"] = {kept("shut off")};
  };
  EXPECT_TRUE(keeping(-1, as_asked).empty()) << describe(keeping(-1, as_asked));
  const auto dropped = keeping(2, as_asked);
  ASSERT_EQ(dropped.size(), 1u) << describe(dropped);
  EXPECT_EQ(dropped[0].kind, "domain-left");
  EXPECT_EQ(dropped[0].process, "libvirtd:a");
  const auto never = keeping(-1, [](std::int64_t, Has&) {});
  ASSERT_EQ(never.size(), 1u) << describe(never);
  EXPECT_EQ(never[0].kind, "domain-undefined");
  const auto unasked = keeping(-1, [&](std::int64_t iteration, Has& has) {
    as_asked(iteration, has);
    if (iteration == 4) has["b"] = {kept("running")};
  });
  ASSERT_EQ(unasked.size(), 1u) << describe(unasked);
  EXPECT_EQ(unasked[0].kind, "domain-defined");
  EXPECT_EQ(unasked[0].process, "libvirtd:b");
}

TEST(XmlDrift, WhereTheGuestStayedTheDestinationHasNothing) {
  const auto findings = told([](Has& has) { has["b"] = {domain("paused")}; }, "stayed");
  ASSERT_EQ(findings.size(), 1u) << describe(findings);
  EXPECT_EQ(findings[0].kind, "domain-left");
  EXPECT_EQ(findings[0].process, "libvirtd:b");
}

TEST(XmlDrift, WhatIsNoListIsNotJudged) {
  const auto findings = judged(4, [](record::Observation& o, Soak&) {
    o.documents.push_back({record::document_kind::kDomains, "libvirtd", 90, "arrived", {{"domains", "none"}}});
  });
  EXPECT_TRUE(findings.empty()) << describe(findings);
}

}  // namespace
}  // namespace migsoak::detect
