//! A server that is reached by TLS only, with a certificate authority of its own, and wants to know who one is.

use std::path::Path;

use larder::invalidation::LogError;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::basics;
use crate::cluster::Cluster;
use crate::instance::{Instance, MINUTE, name};
use crate::journal::{Journal, refused};
use crate::places;
use crate::server::{Server, free_port, until};

/// Writes `{who}.pem` and `{who}.key`.
fn certify(folder: &Path, issuer: &CertifiedIssuer<'_, KeyPair>, who: &str) {
    let mut parameters = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, who);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, issuer).unwrap();
    std::fs::write(folder.join(format!("{who}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{who}.key")), key.serialize_pem()).unwrap();
}

fn authority(folder: &Path, who: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, who);
    let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join(format!("{who}.pem")), issuer.pem()).unwrap();
    issuer
}

#[tokio::test]
async fn only_with_the_right_certificates_on_both_sides_is_there_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let ours = authority(path, "ours");
    let _theirs = authority(path, "theirs");
    certify(path, &ours, "server");
    certify(path, &ours, "client");
    let file = |name: &str| path.join(name).display().to_string();
    let port = free_port();
    let options = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ours.pem"),
        "--tls-auth-clients",
        "yes",
    ];
    let mut server = Server::start(&options).await;
    let lines = |host: &str, authority: &str, client: &str| {
        let client = match client {
            "" => String::new(),
            who => format!(
                "client_cert = '{}'\nclient_key = '{}'\n",
                file(&format!("{who}.pem")),
                file(&format!("{who}.key"))
            ),
        };
        format!("url = 'rediss://{host}:{port}'\nca = '{}'\n{client}", file(&format!("{authority}.pem")))
    };
    let mut right = Instance::at(&lines("localhost", "ours", "client")).await;
    basics::work(&mut right, 0).await;
    basics::work(&mut Instance::at(&lines("127.0.0.1", "ours", "client")).await, 100).await;
    places::works(&Journal::of(&lines("localhost", "ours", "client")).log()).await;
    let refused = refused(&Journal::of(&lines("localhost", "theirs", "client")).log()).await;
    assert!(matches!(refused, LogError::Away(_)), "{refused:?}");
    for wrong in [
        lines("localhost", "ours", ""),
        lines("localhost", "theirs", "client"),
        lines("127.0.0.2", "ours", "client"),
    ] {
        let wrong = Instance::start(&wrong);
        until("both links have failed", MINUTE, async || wrong.telemetry.redis.connect_failures.get() >= 2)
            .await;
        assert!(wrong.timed(name(1)).await.0.is_err());
        assert_eq!(wrong.telemetry.redis.links_up.get(), 0);
    }
    server.kill();
    server.start_again().await;
    right.back(name(1), std::time::Duration::from_secs(2)).await;
    right.is_up().await;
    basics::work(&mut right, 200).await;
}

#[tokio::test]
async fn a_cluster_is_reached_with_certificates_of_ones_own_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let ours = authority(path, "ours");
    let _theirs = authority(path, "theirs");
    certify(path, &ours, "server");
    certify(path, &ours, "client");
    let file = |name: &str| path.join(name).display().to_string();
    let cluster = Cluster::secured(&[
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ours.pem"),
        "--tls-auth-clients",
        "yes",
    ])
    .await;
    let (cert, key) = (file("client.pem"), file("client.key"));
    let client = format!("client_cert = '{cert}'\nclient_key = '{key}'\n");
    let lines = |authority: &str, client: &str| {
        format!("{}\nca = '{}'\n{client}", cluster.lines(), file(&format!("{authority}.pem")))
    };
    let mut right = Instance::at(&lines("ours", &client)).await;
    basics::work(&mut right, 0).await;
    places::works(&Journal::of(&lines("ours", &client)).log()).await;
    for wrong in [lines("ours", ""), lines("theirs", &client)] {
        let wrong = Instance::start(&wrong);
        until("both links have failed", MINUTE, async || wrong.telemetry.redis.connect_failures.get() >= 2)
            .await;
        assert!(wrong.timed(name(1)).await.0.is_err());
        assert_eq!(wrong.telemetry.redis.links_up.get(), 0);
    }
    basics::work(&mut right, 100).await;
}
