// Databases that are missing, foreign, damaged, on a full or read-only file system, or left by a killed writer.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "base/rng.h"
#include "store/equal.h"
#include "store/scratch.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::store {
namespace {

using testing::HasSubstr;

base::Error refused(const std::string& path, bool writable = false) {
  auto store = Store::open(path, writable);
  EXPECT_FALSE(store) << path;
  return store ? base::Error{} : store.error();
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

// Runs SQL on a database as a stranger would.
void meddle(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK)
      << (message != nullptr ? message : "");
  sqlite3_free(message);
  sqlite3_close(db);
}

std::vector<record::Observation> fill(const std::string& path, int iterations) {
  auto store = Store::create(path, synthetic::manifest());
  EXPECT_TRUE(store) << store.error().describe();
  std::vector<record::Observation> given;
  synthetic::Run run;
  for (int i = 0; i < iterations; ++i) {
    given.push_back(run.next());
    EXPECT_TRUE((*store)->finish(given.back(), record::Verdict::pass));
  }
  return given;
}

// A tmpfs of the test's own; gone with it. Needs root.
class Tmpfs {
 public:
  explicit Tmpfs(const std::string& options) {
    mounted_ = ::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, options.c_str()) == 0;
    reason_ = std::strerror(errno);
  }
  ~Tmpfs() {
    if (mounted_) ::umount2(directory_.path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  const std::string& reason() const { return reason_; }
  const std::string& path() const { return directory_.path(); }
  bool make_read_only() const {
    return ::mount("tmpfs", path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }

 private:
  scratch::Directory directory_;
  bool mounted_ = false;
  std::string reason_;
};

TEST(StoreTrouble, EachKindOfWrongFileIsSaid) {
  const scratch::Directory directory;
  const auto check = [&](const std::string& name, const std::string& line) {
    for (const bool writable : {false, true}) {
      const base::Error error = refused(directory.file(name), writable);
      EXPECT_EQ(error.kind, base::ErrorKind::bad_input) << name;
      EXPECT_THAT(error.describe(), HasSubstr(line)) << name;
    }
  };
  check("none.db", "no database at ");
  check("none/results.db", "no database at ");
  check("", "is a directory, not a database");
  write_file(directory.file("empty.db"), "");
  check("empty.db", "is empty, not a migsoak database");
  write_file(directory.file("text.db"), "hello");
  check("text.db", "is not an SQLite database");
  ASSERT_EQ(::mkfifo(directory.file("fifo.db").c_str(), 0600), 0);
  check("fifo.db", "is not a file");
  meddle(directory.file("foreign.db"), "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
  check("foreign.db", "is an SQLite database, but not one of migsoak's");
  write_file(directory.file("magic.db"), std::string("SQLite format 3\0", 16) + std::string(5000, 'x'));
  check("magic.db", "");
  fill(directory.file("newer.db"), 1);
  meddle(directory.file("newer.db"), "PRAGMA user_version = 4");
  check("newer.db", "was written by a newer migsoak (schema 4, this one reads up to 3)");
  fill(directory.file("older.db"), 1);
  meddle(directory.file("older.db"), "PRAGMA user_version = 0");
  check("older.db", "has schema 0, which no migsoak wrote");
  fill(directory.file("less.db"), 1);
  meddle(directory.file("less.db"), "DROP TABLE finding");
  check("less.db", "is damaged: table finding is missing");
  fill(directory.file("lists.db"), 1);
  meddle(directory.file("lists.db"), "PRAGMA foreign_keys = OFF; DROP TABLE document_list");
  check("lists.db", "is damaged: table document_list is missing");
  fill(directory.file("norun.db"), 1);
  meddle(directory.file("norun.db"), "DELETE FROM run");
  check("norun.db", "is damaged: it has no run");
  fill(directory.file("manifest.db"), 1);
  meddle(directory.file("manifest.db"), "UPDATE run SET manifest = '{'");
  check("manifest.db", "stored JSON cannot be read");
}

// Everything that reads, as a report would; what it says does not matter, that it comes back does.
void read_all(const std::string& path) {
  auto store = Store::open(path);
  if (!store) {
    EXPECT_FALSE(store.error().message.empty());
    return;
  }
  (void)(*store)->summary();
  (void)(*store)->findings();
  (void)(*store)->exclusions();
  (void)(*store)->iterations();
  const auto names = (*store)->series_names();
  if (names) {
    for (const auto& name : *names) (void)(*store)->series(name.subject, name.metric);
  }
  (void)(*store)->for_each_observation([](const record::Observation&) -> base::Result<void> { return {}; });
}

TEST(StoreTrouble, DamagedPagesAreErrorsNeverCrashes) {
  const scratch::Directory directory;
  fill(directory.file("good.db"), 40);
  const std::string good = read_file(directory.file("good.db"));
  base::Rng rng(7);
  int said = 0;
  for (int round = 0; round < 60; ++round) {
    std::string bad = good;
    if (round % 3 == 0) bad.resize(100 + rng.below(bad.size() - 100));
    for (int i = 0; i < 400; ++i) bad[100 + rng.below(bad.size() - 100)] = static_cast<char>(rng.next());
    const std::string path = directory.file("bad" + std::to_string(round) + ".db");
    write_file(path, bad);
    read_all(path);
    auto store = Store::open(path, true);
    if (!store) {
      EXPECT_EQ(store.error().kind, base::ErrorKind::bad_input) << store.error().describe();
      ++said;
      continue;
    }
    record::Observation o;
    o.iteration = 1000;
    o.status = record::IterationStatus::completed;
    o.samples.push_back({"harness", 1, "threads", 3});
    (void)(*store)->finish(o, record::Verdict::pass);
  }
  EXPECT_GT(said, 0);
}

TEST(StoreTrouble, DamagedDictionariesAreSaid) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  fill(path, 3);
  meddle(path, "PRAGMA foreign_keys = OFF; UPDATE sample_set SET slots = '[99999]'");
  auto store = Store::open(path);
  ASSERT_TRUE(store);
  const auto observation = (*store)->observation(1);
  ASSERT_FALSE(observation);
  EXPECT_EQ(observation.error().kind, base::ErrorKind::bad_input);
  EXPECT_THAT(observation.error().describe(), HasSubstr("is damaged: sample set incomplete"));
}

TEST(StoreTrouble, DamagedDocumentsAreSaid) {
  for (const char* damage : {"UPDATE document_set SET documents = '{}'", "UPDATE document_set SET documents = '[[1]]'",
                             "UPDATE document_set SET documents = '['", "UPDATE document_list SET processes = '[]'",
                             "DELETE FROM document_set", "DELETE FROM text WHERE value LIKE '%functions%'"}) {
    const scratch::Directory directory;
    const std::string path = directory.file("results.db");
    fill(path, 3);
    meddle(path, std::string("PRAGMA foreign_keys = OFF; ") + damage);
    auto store = Store::open(path);
    ASSERT_TRUE(store);
    const auto observation = (*store)->observation(1);
    ASSERT_FALSE(observation) << damage;
    EXPECT_EQ(observation.error().kind, base::ErrorKind::bad_input) << damage;
  }
}

TEST(StoreTrouble, FullDiskIsTheEnvironmentsFaultAndLosesNothing) {
  const Tmpfs disk("size=1m");
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a tmpfs: " << disk.reason();
  const std::string path = disk.path() + "/results.db";
  auto store = Store::create(path, synthetic::manifest());
  ASSERT_TRUE(store) << store.error().describe();
  synthetic::Run run;
  std::vector<record::Observation> given;
  base::Result<void> last;
  while (given.size() < 3000) {
    record::Observation o = run.next();
    last = (*store)->begin(o);
    if (last) last = (*store)->finish(o, record::Verdict::pass);
    if (!last) break;
    given.push_back(std::move(o));
  }
  ASSERT_FALSE(last) << "1 MiB held 3000 iterations";
  EXPECT_EQ(last.error().kind, base::ErrorKind::environment);
  EXPECT_THAT(last.error().describe(), HasSubstr(path));
  EXPECT_THAT(last.error().describe(), HasSubstr("free there: "));
  std::cout << last.error().describe() << '\n';
  EXPECT_GT(given.size(), 10u);
  // The file system is as full as before: what was finished can still be read, now and by a new process.
  for (const bool reopened : {false, true}) {
    if (reopened) {
      store->reset();
      store = Store::open(path);
      ASSERT_TRUE(store) << store.error().describe();
    }
    std::size_t at = 0;
    const auto walked = (*store)->for_each_observation([&](const record::Observation& o) -> base::Result<void> {
      record::expect_equal(given.at(at++), o);
      return {};
    });
    ASSERT_TRUE(walked) << walked.error().describe();
    EXPECT_EQ(at, given.size());
  }
}

TEST(StoreTrouble, CreateOnAFullDiskLeavesNoFile) {
  const Tmpfs disk("size=16k");
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a tmpfs: " << disk.reason();
  const auto store = Store::create(disk.path() + "/results.db", synthetic::manifest());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().kind, base::ErrorKind::environment);
  EXPECT_THAT(store.error().describe(), HasSubstr("disk full: cannot write"));
  EXPECT_TRUE(std::filesystem::is_empty(disk.path()));
}

TEST(StoreTrouble, ReadOnlyFileSystem) {
  const Tmpfs disk("size=8m");
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a tmpfs: " << disk.reason();
  const std::string path = disk.path() + "/results.db";
  const std::string killed = disk.path() + "/killed.db";
  const auto given = fill(path, 5);
  fill(disk.path() + "/other.db", 5);
  {
    // As a killed writer leaves it: a -wal file that holds iterations, and nobody to bring them in.
    auto store = Store::open(disk.path() + "/other.db", true);
    ASSERT_TRUE(store);
    record::Observation o;
    o.iteration = 5;
    o.status = record::IterationStatus::completed;
    ASSERT_TRUE((*store)->finish(o, record::Verdict::pass));
    std::filesystem::copy_file(disk.path() + "/other.db", killed);
    std::filesystem::copy_file(disk.path() + "/other.db-wal", killed + "-wal");
  }
  ASSERT_TRUE(disk.make_read_only()) << std::strerror(errno);
  auto store = Store::open(path);
  ASSERT_TRUE(store) << store.error().describe();
  record::expect_equal(given[4], *(*store)->observation(4));
  store = Store::open(killed);
  ASSERT_TRUE(store) << store.error().describe();
  EXPECT_EQ((*store)->summary()->last_finished, 5);
  const base::Error error = refused(path, true);
  EXPECT_EQ(error.kind, base::ErrorKind::environment);
  EXPECT_THAT(error.describe(), HasSubstr("cannot be written"));
}

TEST(StoreTrouble, KilledWriterLosesNoFinishedIteration) {
  const scratch::Directory directory;
  for (int round = 0; round < 5; ++round) {
    const std::string path = directory.file("killed" + std::to_string(round) + ".db");
    int told[2];
    ASSERT_EQ(::pipe2(told, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = Store::create(path, synthetic::manifest());
      synthetic::Run run;
      for (char i = 0; store; ++i) {
        const record::Observation begun = run.begun();
        if (!(*store)->begin(begun) || !(*store)->finish(run.next(), record::Verdict::pass)) break;
        if (::write(told[1], &i, 1) != 1) break;
      }
      ::_exit(1);
    }
    ::close(told[1]);
    char last = -1;
    for (int i = 0; i <= 10 * round; ++i) ASSERT_EQ(::read(told[0], &last, 1), 1);
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    while (::read(told[0], &last, 1) == 1) {
    }
    ::close(told[0]);
    auto reader = Store::open(path);
    ASSERT_TRUE(reader) << reader.error().describe();
    const auto summary = (*reader)->summary();
    ASSERT_TRUE(summary);
    EXPECT_GE(summary->last_finished, last);
    EXPECT_EQ(summary->iterations_finished, summary->last_finished + 1);
    EXPECT_FALSE(summary->verdict);
    // The same history, up to where it was cut.
    synthetic::Run run;
    ASSERT_TRUE((*reader)->for_each_observation([&](const record::Observation& o) -> base::Result<void> {
      record::expect_equal(run.next(), o);
      return {};
    }));
    reader->reset();
    auto resumed = Store::open(path, true);
    ASSERT_TRUE(resumed);
    ASSERT_TRUE((*resumed)->begin(run.begun()));
    ASSERT_TRUE((*resumed)->finish(run.next(), record::Verdict::pass));
  }
}

}  // namespace
}  // namespace migsoak::store
