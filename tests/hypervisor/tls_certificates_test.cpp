#include "hypervisor/tls_certificates.h"

#include <gmock/gmock.h>
#include <gnutls/x509.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "store/scratch.h"

namespace migsoak::hypervisor {
namespace {

class Certificate {
 public:
  explicit Certificate(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    const gnutls_datum_t pem{reinterpret_cast<unsigned char*>(text.data()), static_cast<unsigned>(text.size())};
    EXPECT_EQ(gnutls_x509_crt_init(&crt_), 0);
    EXPECT_EQ(gnutls_x509_crt_import(crt_, &pem, GNUTLS_X509_FMT_PEM), 0) << path;
  }
  ~Certificate() { gnutls_x509_crt_deinit(crt_); }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  bool is_by(const Certificate& authority) const {
    unsigned why = 0;
    return gnutls_x509_crt_verify(crt_, &authority.crt_, 1, 0, &why) == 0 && why == 0;
  }
  bool is_of(const char* host) const { return gnutls_x509_crt_check_hostname(crt_, host) != 0; }
  std::string purpose() const {
    std::vector<char> text(64);
    std::size_t size = text.size();
    return gnutls_x509_crt_get_key_purpose_oid(crt_, 0, text.data(), &size, nullptr) == 0 ? text.data() : "";
  }

 private:
  gnutls_x509_crt_t crt_ = nullptr;
};

TEST(TlsCertificates, BothEndsHaveTheSameAuthorityAndEachItsPurpose) {
  const scratch::Directory directory;
  const std::string a = directory.file("a"), b = directory.file("b");
  for (const std::string& end : {a, b}) {
    const auto written = write_tls_certificates(end);
    ASSERT_TRUE(written) << written.error().message;
  }
  const Certificate authority(a + "/ca-cert.pem"), same(b + "/ca-cert.pem");
  EXPECT_TRUE(same.is_by(authority));
  for (const std::string& end : {a, b}) {
    for (const auto& [name, purpose] :
         {std::pair("server", GNUTLS_KP_TLS_WWW_SERVER), std::pair("client", GNUTLS_KP_TLS_WWW_CLIENT)}) {
      const Certificate certificate(end + "/" + name + "-cert.pem");
      EXPECT_TRUE(certificate.is_by(authority)) << name;
      EXPECT_TRUE(certificate.is_of(kTlsName)) << name;
      EXPECT_TRUE(certificate.is_of("127.0.0.1")) << name;
      EXPECT_FALSE(certificate.is_of("example.org")) << name;
      EXPECT_EQ(certificate.purpose(), purpose);
      struct stat info {};
      ASSERT_EQ(::stat((end + "/" + name + "-key.pem").c_str(), &info), 0);
      EXPECT_EQ(info.st_mode & 0777, 0600U);
    }
  }
}

TEST(TlsCertificates, WhereNothingCanBeWrittenTheErrorSaysSo) {
  const auto written = write_tls_certificates("/proc/none");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind, base::ErrorKind::environment);
  EXPECT_THAT(written.error().message, ::testing::HasSubstr("/proc/none"));
}

}  // namespace
}  // namespace migsoak::hypervisor
