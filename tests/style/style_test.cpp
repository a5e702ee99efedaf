// The repository obeys the rules, and every rule fires on the planted bad tree exactly where planted/expected.txt says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "rules.h"

namespace migsoak::style {
namespace {

namespace fs = std::filesystem;

const char kStyleDir[] = "tests/style/";
// The one folder the rules do not look into: it breaks them on purpose.
const char kPlantedDir[] = "tests/style/planted/";

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return std::move(bytes).str();
}

// Tracked files: what a clone has. Empty when this is not a git checkout (a source archive).
std::vector<std::string> tracked_files() {
  // safe.directory: CI may run as another user than the one who cloned.
  const std::string command = "git -c safe.directory='*' -C '" MIGSOAK_SOURCE_DIR "' ls-files -z 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "re"), pclose);
  std::string bytes;
  std::array<char, 4096> buffer{};
  while (const std::size_t got = fread(buffer.data(), 1, buffer.size(), pipe.get())) bytes.append(buffer.data(), got);
  std::vector<std::string> paths;
  for (std::size_t start = 0; start < bytes.size();) {
    const std::size_t end = bytes.find('\0', start);
    paths.push_back(bytes.substr(start, end - start));
    start = end + 1;
  }
  return paths;
}

bool is_text(const std::string& bytes) {
  return std::string_view(bytes).substr(0, 8192).find('\0') == std::string_view::npos;
}

Tree repository() {
  const fs::path root = MIGSOAK_SOURCE_DIR;
  Tree tree;
  for (const std::string& path : tracked_files()) {
    if (path.starts_with(kPlantedDir) || !fs::is_regular_file(root / path)) continue;
    std::string text = read_file(root / path);
    // A binary file still has a name and a place.
    if (!is_text(text)) text.clear();
    tree.push_back({path, std::move(text)});
  }
  return tree;
}

Tree planted() {
  const fs::path root = fs::path(MIGSOAK_SOURCE_DIR) / kPlantedDir / "tree";
  Tree tree;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) {
      tree.push_back({fs::relative(entry.path(), root).generic_string(), read_file(entry.path())});
    }
  }
  return tree;
}

std::vector<std::string> described(const std::vector<Offence>& offences) {
  std::vector<std::string> lines;
  for (const Offence& offence : offences) lines.push_back(offence.describe());
  return lines;
}

TEST(Style, RepositoryObeysTheRules) {
  const Tree tree = repository();
  if (tree.empty()) GTEST_SKIP() << "not a git checkout: which files are part of the project is unknown";
  ASSERT_GT(tree.size(), 50u);
  const fs::path root = MIGSOAK_SOURCE_DIR;
  std::vector<Offence> offences;
  const Config config = parse_config(read_file(root / kStyleDir / "rules.txt"), offences);
  const auto exceptions = parse_exceptions(read_file(root / kStyleDir / "exceptions.txt"), offences);
  std::vector<Offence> found = without_exceptions(check(tree, config), exceptions);
  offences.insert(offences.end(), found.begin(), found.end());
  for (const std::string& line : described(offences)) ADD_FAILURE() << line;
}

TEST(Style, EveryRuleFiresWherePlanted) {
  const fs::path dir = fs::path(MIGSOAK_SOURCE_DIR) / kPlantedDir;
  std::vector<Offence> offences;
  const Config config = parse_config(read_file(dir / "rules.txt"), offences);
  const auto exceptions = parse_exceptions(read_file(dir / "exceptions.txt"), offences);
  std::vector<Offence> found = check(planted(), config);

  std::set<std::string> fired;
  for (const Offence& offence : found) fired.insert(offence.rule);
  EXPECT_THAT(rule_names(), testing::UnorderedElementsAreArray(fired)) << "a rule nobody has seen fire is no rule";

  found = without_exceptions(std::move(found), exceptions);
  offences.insert(offences.end(), found.begin(), found.end());
  std::string actual;
  for (const std::string& line : described(offences)) actual += line + "\n";
  if (std::getenv("MIGSOAK_UPDATE_GOLDEN") != nullptr) std::ofstream(dir / "expected.txt") << actual;
  EXPECT_EQ(actual, read_file(dir / "expected.txt")) << "MIGSOAK_UPDATE_GOLDEN=1 rewrites it: then read the diff";
}

}  // namespace
}  // namespace migsoak::style
