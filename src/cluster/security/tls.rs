//! TLS between nodes, with certificates on both sides.
//!
//! Position: read once when a node starts; `flight` gives it to every connection. A node accepts who has a certificate of the
//! configured authority, and connects to who has one of it for the host it is reached at. Deliberately elsewhere: tokens, which are
//! checked besides.

use std::path::Path;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::{
    config::TlsConfig,
    error::{Error, ErrorKind, Result},
};

/// A node's certificate, its key, and the authority that all nodes' certificates are of.
pub struct Tls {
    authority: Certificate,
    identity: Identity,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no PEM.
    pub fn read(config: &TlsConfig) -> Result<Tls> {
        let authority = Certificate::from_pem(read(&config.ca, "certificate of the authority (ca)")?);
        let certificate = read(&config.cert, "certificate (cert)")?;
        let tls = Tls { authority, identity: Identity::from_pem(certificate, read(&config.key, "private key (key)")?) };
        install_provider();
        Ok(tls)
    }

    pub(crate) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity.clone()).client_ca_root(self.authority.clone())
    }

    pub(crate) fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(self.authority.clone()).identity(self.identity.clone())
    }
}

/// Makes ring the process's cryptography, as rustls needs somebody to say; the first one who does wins.
fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Configuration, "F0000", format!("cannot use \"{}\" as {what} of the cluster: {why}", path.display()))
            .with_hint("see [cluster] tls in the configuration: ca, cert and key are files in PEM")
    };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if memchr::memmem::find(&text, b"-----BEGIN ").is_none() {
        return Err(wrong("there is no PEM in it".to_owned()));
    }
    Ok(text)
}
