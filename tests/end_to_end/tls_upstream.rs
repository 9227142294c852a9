//! An upstream that speaks TLS: trusted by the configured authority, and by that only.
//!
//! Authority and certificates are made on the spot; none of them outlives its test.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::larder::{CACHED, Larder, command, written};
use crate::origin::Origin;

/// Answers every request of every connection, over TLS.
struct TlsOrigin {
    address: SocketAddr,
    /// How many requests came through.
    asked: Arc<AtomicUsize>,
    /// The certificate of the authority behind it, PEM.
    authority: String,
}

impl TlsOrigin {
    /// With a certificate for this name.
    fn start(name: &str) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (config, asked) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        // Ends with the process, as the test does.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, asked) = (Arc::clone(&config), Arc::clone(&counted));
                // A connection whose client does not trust us ends with an error, and that is right.
                thread::spawn(move || serve(stream?, config, &asked));
            }
        });
        Self { address, asked, authority: authority.pem() }
    }

    /// By name, as certificates are for names.
    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, asked: &AtomicUsize) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut wire = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    while wire.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            let body = format!("answer {}", asked.fetch_add(1, Ordering::SeqCst) + 1);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            wire.get_mut().write_all((head + &body).as_bytes())?;
            wire.get_mut().flush()?;
        }
        line.clear();
    }
    Ok(())
}

/// The configuration that trusts this authority, and the file that has to be there for as long.
fn trusting(authority: &str) -> (tempfile::NamedTempFile, String) {
    let pem = written(authority);
    let config = format!("[upstream]\nca = {:?}\n{CACHED}", pem.path());
    (pem, config)
}

fn assert_tls_failed(larder: &Larder, origin: &TlsOrigin) {
    let answer = larder.curl("/things/1", &[]);
    let told = answer.field("proxy-status");
    assert_eq!((answer.status, told), (502, Some("larder; error=tls_protocol_error")), "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!(origin.asked(), 0, "it was sent a request though nobody knew who it was");
}

#[test]
fn with_the_configured_authority_misses_and_hits_work_over_tls() {
    let origin = TlsOrigin::start("localhost");
    let (_pem, config) = trusting(&origin.authority);
    let larder = Larder::run(&origin.url(), &config, &[]);
    let first = larder.curl("/things/1", &[]);
    assert_eq!((first.status, first.text().as_str(), first.is_hit()), (200, "answer 1", false), "{first:?}");
    let second = larder.curl("/things/1", &[]);
    assert_eq!(
        (second.status, second.text().as_str(), second.is_hit()),
        (200, "answer 1", true),
        "{second:?}"
    );
    let other = larder.curl("/things/2", &[]);
    assert_eq!((other.status, other.text().as_str()), (200, "answer 2"), "{other:?}");
    assert_eq!(origin.asked(), 2);
    assert_eq!(larder.stats()["upstream"]["connects"], 1, "a connection was not used again");
}

/// `SSL_CERT_FILE` stands for what a machine trusts: some need it set, and none is the same as another.
#[test]
fn without_a_configured_authority_those_of_the_system_are_trusted_and_no_other() {
    let origin = TlsOrigin::start("localhost");
    let strangers = written(&TlsOrigin::start("localhost").authority);
    let environment = [("SSL_CERT_FILE", strangers.path().to_str().unwrap())];
    assert_tls_failed(&Larder::run(&origin.url(), CACHED, &environment), &origin);

    let own = written(&origin.authority);
    let environment = [("SSL_CERT_FILE", own.path().to_str().unwrap())];
    let answer = Larder::run(&origin.url(), CACHED, &environment).curl("/things/1", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "answer 1"), "{answer:?}");
}

#[test]
fn with_a_configured_authority_those_of_the_system_are_not_trusted() {
    let origin = TlsOrigin::start("localhost");
    let systems = written(&origin.authority);
    let environment = [("SSL_CERT_FILE", systems.path().to_str().unwrap())];
    let (_pem, config) = trusting(&TlsOrigin::start("localhost").authority);
    assert_tls_failed(&Larder::run(&origin.url(), &config, &environment), &origin);
}

#[test]
fn nobody_listening_is_told_from_tls_that_fails() {
    let (_pem, config) = trusting(&TlsOrigin::start("localhost").authority);
    let larder = Larder::run(&format!("https://{}", Origin::nowhere()), &config, &[]);
    let answer = larder.curl("/things/1", &[]);
    let told = answer.field("proxy-status");
    assert_eq!((answer.status, told), (502, Some("larder; error=connection_refused")), "{answer:?}");
}

#[test]
fn a_certificate_for_another_name_is_not_trusted() {
    let origin = TlsOrigin::start("api.example");
    let (_pem, config) = trusting(&origin.authority);
    assert_tls_failed(&Larder::run(&origin.url(), &config, &[]), &origin);
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_a_tls_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    let (_pem, config) = trusting(&TlsOrigin::start("localhost").authority);
    let larder = Larder::run(&format!("https://localhost:{port}"), &config, &[]);
    let answer = larder.curl("/things/1", &[]);
    let told = answer.field("proxy-status");
    assert_eq!((answer.status, told), (502, Some("larder; error=tls_protocol_error")), "{answer:?}");
}

#[test]
fn a_file_without_certificates_is_a_mistake_in_the_configuration() {
    for (what, pem) in [
        ("no PEM at all", "hello\n"),
        ("nothing", ""),
        ("a key", "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"),
        ("not a certificate inside", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"),
        ("no end", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n"),
    ] {
        let (_pem, config) = trusting(pem);
        let file = written(&config.replace("[upstream]", "[upstream]\nurl = \"https://localhost:1\""));
        let output = command().args(["check", "-c"]).arg(file.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{what}: {told}");
        assert!(told.contains(".toml:3:6: upstream.ca"), "{what}: {told}");
    }
}
