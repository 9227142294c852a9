//! Starts the demo: the slow API on a port of its own, then the proxy before it.
//!
//! The configuration is the one in `demo.toml` and nothing else: neither the environment nor a `larder.toml` lying
//! about has a say, so that the demo is the same everywhere. The API has a thread and a runtime to itself and ends with
//! the process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use super::api::Api;
use super::guide::{guide, quoted};
use crate::{app, config};

/// Where the demo listens, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// For clients.
    pub listen: String,
    /// For the admin listener, or `off`.
    pub admin: String,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The slow API.
    #[error("the demo's API could not be started: {0}")]
    Api(#[from] io::Error),
    /// Most likely an address that is none.
    #[error("{0}")]
    Mistakes(config::Mistakes),
    /// Most likely an address that is taken.
    #[error("{0}\nTry other addresses: larder demo --listen 127.0.0.1:9080 --admin 127.0.0.1:9081")]
    Start(app::StartError),
}

/// The demo's configuration, but for addresses.
pub const CONFIGURATION: &str = include_str!("demo.toml");

/// Runs the demo until it is told to stop; `tell` gets what there is to try once it is up.
pub fn start(place: &Place, program: &Path, tell: impl FnOnce(&str)) -> Result<(), DemoError> {
    let api = start_api()?;
    let loaded = load(place, api)?;
    let program = quoted(&program.to_string_lossy());
    app::run(&loaded, |addresses| tell(&guide(&addresses, &program))).map_err(DemoError::Start)
}

/// Begins to serve the API and says where.
fn start_api() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let api = Arc::new(Api::new()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || {
        runtime.block_on(async {
            // Fails only outside a runtime.
            if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                api.serve(listener, std::future::pending()).await;
            }
        });
    };
    std::thread::Builder::new().name("demo-api".into()).spawn(serve)?;
    Ok(address)
}

fn load(place: &Place, api: SocketAddr) -> Result<config::Loaded, DemoError> {
    let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let sources = config::Sources {
        file: None,
        flags: vec![
            flag("upstream.url", &format!("http://{api}")),
            flag("server.listen", &place.listen),
            flag("server.admin", &place.admin),
        ],
        environment: Vec::new(),
    };
    let mut loaded =
        config::load_text(Path::new("demo.toml"), CONFIGURATION, &sources).map_err(DemoError::Mistakes)?;
    // Built in: nobody must try to read it again.
    loaded.file = None;
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn place() -> Place {
        Place { listen: "127.0.0.1:8080".into(), admin: "127.0.0.1:8081".into() }
    }

    #[test]
    fn the_demos_configuration_is_valid_and_has_the_three_lifetimes() {
        let loaded = load(&place(), ([127, 0, 0, 1], 9).into()).unwrap();
        let lifetimes: Vec<_> =
            loaded.settings.routes.iter().map(|route| (&*route.name, route.policy.ttl)).collect();
        let minutes = |count: u64| Duration::from_secs(count * 60);
        assert_eq!(
            lifetimes,
            [
                ("user", minutes(5)),
                ("projects", minutes(10)),
                ("project", minutes(10)),
                ("server-status", minutes(2))
            ]
        );
        assert_eq!(loaded.warnings, [""; 0]);
    }

    #[test]
    fn an_address_that_is_none_is_a_mistake() {
        let wrong = Place { listen: "nowhere".into(), ..place() };
        let error = load(&wrong, ([127, 0, 0, 1], 9).into()).unwrap_err();
        assert!(matches!(error, DemoError::Mistakes(_)), "{error}");
    }
}
