//! Connections that nobody reads on the way.

use super::LinkTerms;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// By whose word a centre is known; the error tells what is wrong with the file.
pub(super) fn connector(authorities: &Path) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    if authorities.as_os_str().is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        let wrong = |what: &dyn std::fmt::Display| format!("authorities: {}: {what}", authorities.display());
        for certificate in CertificateDer::pem_file_iter(authorities).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"no certificate"));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let configuration = builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(configuration).into())
}

/// Goes on with a connection under TLS.
pub(super) async fn connect(terms: &LinkTerms, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let host = terms.address.rsplit_once(':').map_or(terms.address.as_str(), |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    connector(&terms.authorities).map_err(io::Error::other)?.connect(name, stream).await
}
