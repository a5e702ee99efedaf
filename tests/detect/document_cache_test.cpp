// A record that is read back says which contents are the same (Document::content_id). What is kept of them changes no
// answer, and has an end.
#include <gtest/gtest.h>

#include <map>

#include "config_model.h"
#include "detect/config_documents.h"

namespace migsoak::detect {
namespace {

using namespace testing;

// As the store hands it over.
Change numbered(const Change& change) {
  return [change, ids = std::map<std::string, std::int64_t>()](record::Observation& o, Soak& soak) mutable {
    change(o, soak);
    for (record::Document& document : o.documents) {
      document.content_id =
          ids.try_emplace(base::dump_json(document.content), static_cast<std::int64_t>(ids.size()) + 1).first->second;
    }
  };
}

struct Judged {
  std::vector<record::Finding> findings;
  std::vector<record::Exclusion> exclusions;
  record::Verdict verdict;
  bool operator==(const Judged&) const = default;
};
Judged judge(const Change& change, int iterations) {
  Judge judge(two_builds());
  Soak soak;
  run(judge, soak, iterations, change);
  return {judge.findings(), judge.exclusions(), judge.verdict()};
}

record::Document& document_of(record::Observation& o, const std::string& of_kind, const std::string& point) {
  for (record::Document& document : o.documents) {
    if (document.kind == of_kind && document.point == point) return document;
  }
  ADD_FAILURE() << "no " << of_kind << " at " << point;
  return o.documents.front();
}

Disk wide() {
  Disk disk;
  disk.bar0_bytes = 0x40;
  return disk;
}

TEST(DocumentCache, ChangesNoAnswer) {
  const Change clean = sides({Disk{}});
  const std::vector<std::pair<const char*, Change>> cases = {
      {"clean", clean},
      {"another BAR", sides({wide()}, [](Disk& disk) { disk.bar0_bytes = 0x80; })},
      {"a virtqueue beyond its property", sides({Disk{}}, [](Disk& disk) { disk.queue_property = 128; })},
      {"drift of a source in iteration 7",
       [clean](record::Observation& o, Soak& soak) {
         clean(o, soak);
         if (o.iteration != 7) return;
         base::Json& function = document_of(o, kind::kConfigSpace, "source").content["functions"][0];
         function["bars"][0]["size"] = 0x200;
       }},
      {"bytes that are not read in iteration 5, and others in 7",
       [clean](record::Observation& o, Soak& soak) {
         clean(o, soak);
         base::Json& function = document_of(o, kind::kConfigSpace, "source").content["functions"][0];
         if (o.iteration == 5) function["size"] = 0;
         if (o.iteration == 7) function["bytes"] = "f41a0110" + function["bytes"].get<std::string>().substr(8);
       }},
      {"a device that is another one from iteration 6 on",
       [clean](record::Observation& o, Soak& soak) {
         clean(o, soak);
         if (o.iteration < 6) return;
         document_of(o, kind::kConfigSpace, "destination").content["functions"][0]["device"] = "8086:1234";
       }},
      {"a document that can't be read",
       [clean](record::Observation& o, Soak& soak) {
         clean(o, soak);
         if (o.iteration == 3) document_of(o, kind::kConfigSpace, "source").content["functions"] = "none";
       }},
      {"lineages", [clean](record::Observation& o, Soak& soak) {
         clean(o, soak);
         o.lineage = static_cast<int>(o.iteration / 3);
       }}};
  std::size_t found = 0;
  for (const auto& [what, change] : cases) {
    const Judged plain = judge(change, 12);
    EXPECT_EQ(judge(numbered(change), 12), plain) << what << "\n" << describe(plain.findings);
    found += plain.findings.size();
  }
  EXPECT_GE(found, 5U) << "these cases must show something";
}

TEST(DocumentCache, MakesTheSameContentOnce) {
  Soak soak;
  record::Observation one = soak.step(), two = soak.step();
  numbered(sides({Disk{}}))(one, soak);
  numbered(sides({Disk{}}))(two, soak);
  DocumentCache cache;
  EXPECT_EQ(cache.at(one, "source").space, cache.at(two, "source").space);
  EXPECT_EQ(cache.at(one, "source").device_set, cache.at(two, "source").device_set);
  EXPECT_NE(cache.at(one, "source").space, cache.at(one, "destination").space);
  EXPECT_EQ(cache.at(two, "source").side, two.plan.source_side);
  for (record::Document& document : two.documents) document.content_id = 0;
  EXPECT_NE(cache.at(one, "source").space, cache.at(two, "source").space) << "nobody says that it is the same";
}

TEST(DocumentCache, HasAnEnd) {
  Soak soak;
  record::Observation o = soak.step();
  sides({Disk{}})(o, soak);
  DocumentCache cache;
  std::int64_t id = 0;
  for (int i = 0; i < 3000; ++i) {
    for (record::Document& document : o.documents) document.content_id = ++id;
    ASSERT_TRUE(cache.at(o, "source").space);
    ASSERT_LE(cache.bytes(), DocumentCache::kBytesMax);
  }
  EXPECT_GT(cache.bytes(), 0U);
}

}  // namespace
}  // namespace migsoak::detect
