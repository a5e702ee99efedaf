#include "hypervisor/tls_certificates.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>

#include "base/unique_fd.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr std::time_t kBeforeNow = 24 * 3600;             // clocks of hosts differ
constexpr std::time_t kAfterNow = 10 * 365 * 24 * 3600L;  // longer than any soak

base::Result<void> checked(int status, const char* what) {
  if (status >= 0) return {};
  return base::fail(ErrorKind::environment, fmt::format("certificates for TLS: {}: {}", what, gnutls_strerror(status)));
}

struct KeyDeleter {
  void operator()(gnutls_x509_privkey_t key) const { gnutls_x509_privkey_deinit(key); }
};
struct CertificateDeleter {
  void operator()(gnutls_x509_crt_t certificate) const { gnutls_x509_crt_deinit(certificate); }
};
using Key = std::unique_ptr<gnutls_x509_privkey_int, KeyDeleter>;
using Certificate = std::unique_ptr<gnutls_x509_crt_int, CertificateDeleter>;

struct Identity {
  Key key;
  Certificate certificate;
};

// Elliptic, as a key takes a millisecond: RSA's takes a second, for each directory.
base::Result<Key> make_key() {
  gnutls_x509_privkey_t raw = nullptr;
  MIGSOAK_TRY(checked(gnutls_x509_privkey_init(&raw), "a key"));
  Key key(raw);
  MIGSOAK_TRY(
      checked(gnutls_x509_privkey_generate(raw, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
              "a key"));
  return key;
}

// Signed by `authority`; by itself where that is null, and then an authority. `purpose` is a GNUTLS_KP_….
base::Result<Identity> make_identity(const Identity* authority, const char* purpose) {
  Identity made;
  MIGSOAK_ASSIGN(made.key, make_key());
  gnutls_x509_crt_t raw = nullptr;
  MIGSOAK_TRY(checked(gnutls_x509_crt_init(&raw), "a certificate"));
  made.certificate.reset(raw);
  std::array<unsigned char, 16> serial{};
  if (::getrandom(serial.data(), serial.size(), 0) != static_cast<ssize_t>(serial.size())) {
    return base::fail(ErrorKind::environment, "certificates for TLS: no random number");
  }
  serial[0] &= 0x7f;  // positive: RFC 5280, 4.1.2.2
  const std::time_t now = std::time(nullptr);
  const std::string name = authority == nullptr ? "migsoak" : kTlsName;
  for (const int status : {gnutls_x509_crt_set_version(raw, 3), gnutls_x509_crt_set_key(raw, made.key.get()),
                           gnutls_x509_crt_set_serial(raw, serial.data(), serial.size()),
                           gnutls_x509_crt_set_activation_time(raw, now - kBeforeNow),
                           gnutls_x509_crt_set_expiration_time(raw, now + kAfterNow),
                           gnutls_x509_crt_set_dn_by_oid(raw, GNUTLS_OID_X520_COMMON_NAME, 0, name.data(),
                                                         static_cast<unsigned>(name.size())),
                           gnutls_x509_crt_set_basic_constraints(raw, authority == nullptr ? 1 : 0, -1)}) {
    MIGSOAK_TRY(checked(status, "a certificate"));
  }
  if (authority == nullptr) {
    MIGSOAK_TRY(checked(gnutls_x509_crt_set_key_usage(raw, GNUTLS_KEY_KEY_CERT_SIGN), "its use"));
    MIGSOAK_TRY(checked(gnutls_x509_crt_sign2(raw, raw, made.key.get(), GNUTLS_DIG_SHA256, 0), "its signature"));
    return made;
  }
  in_addr v4{};
  ::inet_pton(AF_INET, "127.0.0.1", &v4);
  for (const int status :
       {gnutls_x509_crt_set_key_usage(raw, GNUTLS_KEY_DIGITAL_SIGNATURE),
        gnutls_x509_crt_set_key_purpose_oid(raw, purpose, 0),
        gnutls_x509_crt_set_subject_alt_name(raw, GNUTLS_SAN_DNSNAME, kTlsName,
                                             static_cast<unsigned>(std::strlen(kTlsName)), GNUTLS_FSAN_APPEND),
        gnutls_x509_crt_set_subject_alt_name(raw, GNUTLS_SAN_IPADDRESS, &v4, sizeof v4, GNUTLS_FSAN_APPEND),
        gnutls_x509_crt_set_subject_alt_name(raw, GNUTLS_SAN_IPADDRESS, &in6addr_loopback, sizeof in6addr_loopback,
                                             GNUTLS_FSAN_APPEND),
        gnutls_x509_crt_sign2(raw, authority->certificate.get(), authority->key.get(), GNUTLS_DIG_SHA256, 0)}) {
    MIGSOAK_TRY(checked(status, "a certificate"));
  }
  return made;
}

base::Result<void> write_pem(const std::string& path, const gnutls_datum_t& pem) {
  const std::unique_ptr<unsigned char, void (*)(void*)> held(pem.data, gnutls_free);
  const base::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid() || ::write(file.get(), pem.data, pem.size) != static_cast<ssize_t>(pem.size)) {
    return base::fail(ErrorKind::environment, "can't write " + path);
  }
  return {};
}

base::Result<void> write_certificate(const std::string& path, const Identity& identity) {
  gnutls_datum_t pem{};
  MIGSOAK_TRY(checked(gnutls_x509_crt_export2(identity.certificate.get(), GNUTLS_X509_FMT_PEM, &pem), "its text"));
  return write_pem(path, pem);
}

base::Result<void> write_key(const std::string& path, const Identity& identity) {
  gnutls_datum_t pem{};
  MIGSOAK_TRY(checked(
      gnutls_x509_privkey_export2_pkcs8(identity.key.get(), GNUTLS_X509_FMT_PEM, nullptr, GNUTLS_PKCS_PLAIN, &pem),
      "its text"));
  return write_pem(path, pem);
}

}  // namespace

base::Result<void> write_tls_certificates(const std::string& directory) {
  static const base::Result<Identity> authority = make_identity(nullptr, nullptr);
  if (!authority) return tl::make_unexpected(authority.error());
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return base::fail(ErrorKind::environment, "can't make " + directory + ": " + error.message());
  MIGSOAK_TRY(write_certificate(directory + "/ca-cert.pem", *authority));
  for (const auto& [name, purpose] :
       {std::pair("server", GNUTLS_KP_TLS_WWW_SERVER), std::pair("client", GNUTLS_KP_TLS_WWW_CLIENT)}) {
    MIGSOAK_ASSIGN(const Identity identity, make_identity(&*authority, purpose));
    MIGSOAK_TRY(write_certificate(fmt::format("{}/{}-cert.pem", directory, name), identity));
    MIGSOAK_TRY(write_key(fmt::format("{}/{}-key.pem", directory, name), identity));
  }
  return {};
}

}  // namespace migsoak::hypervisor
