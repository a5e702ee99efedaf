// The certificates with which both ends of a migration prove who they are over TLS: an authority that lives as long as
// the process, and in each directory a server's and a client's certificate by it, all for this host alone.
//
// File names and what must be in them: QEMU, docs/system/tls.rst; libvirt has its QEMUs read them from
// migrate_tls_x509_cert_dir (qemu.conf).
#pragma once

#include <string>

#include "base/result.h"

namespace migsoak::hypervisor {

// The name in both certificates. They also have the addresses 127.0.0.1 and ::1.
inline constexpr const char* kTlsName = "localhost";

// Writes ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem into the directory, which is
// made; the keys are for this user alone. All directories of one process have the same authority, whose key is written
// nowhere. Any thread. kind environment: GnuTLS or the file system refused.
base::Result<void> write_tls_certificates(const std::string& directory);

}  // namespace migsoak::hypervisor
