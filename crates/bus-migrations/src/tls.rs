//! How far a server is trusted: the modes of libpq, by rustls.

use std::{fs, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::MigrateError;

/// The word in `sslrootcert` for the certificates of the system.
const SYSTEM: &str = "system";

/// How far the server is trusted, as `sslmode` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server offers it; its certificate is not checked.
    Prefer,
    /// Always encrypted; the certificate is not checked.
    Require,
    /// Always encrypted; the certificate comes from the authority in `sslrootcert`.
    VerifyCa,
    /// That, and it is for the host that was asked for.
    VerifyFull,
}

impl TlsMode {
    /// As it is written in a URL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether somebody in between would be noticed.
    pub(crate) fn checks_certificate(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

/// What makes TLS connections in this mode, trusting the authorities in the file `root_certificates`, else the
/// system's. Reads files: not for the reactor.
pub(crate) fn connector(
    mode: TlsMode,
    root_certificates: Option<&str>,
) -> Result<MakeRustlsConnect, MigrateError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(root_certificates, &error))?;
    let roots = root_certificates.filter(|path| *path != SYSTEM);
    let config = match (mode, roots) {
        (TlsMode::VerifyFull, None) => builder
            .with_platform_verifier()
            .map_err(|error| unusable(root_certificates, &error))?,
        (TlsMode::VerifyFull, Some(path)) => builder.with_root_certificates(read_roots(path)?),
        (TlsMode::VerifyCa, Some(path)) => {
            let chain = WebPkiServerVerifier::builder_with_provider(
                Arc::new(read_roots(path)?),
                Arc::clone(&provider),
            )
            .build()
            .map_err(|error| unusable(Some(path), &error))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyName(chain)))
        }
        (TlsMode::VerifyCa, None) => {
            return Err(MigrateError::Url {
                reason: "sslrootcert=system goes with sslmode=verify-full only".to_owned(),
            });
        }
        _ => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
    }
    .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn read_roots(path: &str) -> Result<RootCertStore, MigrateError> {
    let pem = fs::read(path).map_err(|error| unusable(Some(path), &error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(Some(path), &error))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(Some(path), &error))?;
    }
    if roots.is_empty() {
        return Err(unusable(Some(path), &"it holds none"));
    }
    Ok(roots)
}

fn unusable(path: Option<&str>, reason: &dyn std::fmt::Display) -> MigrateError {
    MigrateError::RootCertificates {
        path: path.unwrap_or(SYSTEM).to_owned(),
        reason: reason.to_string(),
    }
}

/// The chain must be good; the name may be another.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

/// Encrypts towards whoever is there. Signatures are checked, so that the one who answers holds the key it shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            // The chain is looked at first: whoever comes to the name has a good one.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
