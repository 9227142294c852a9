//! The commands that serve: `run`, `demo` and `demo-api`.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::{Demo, DemoApi, Run};
use super::failure::Failure;
use super::outlet::say;
use crate::config::{self, Sources};
use crate::{app, demo};

pub(super) fn run(run: Run) -> Result<(), Failure> {
    let file = run.config.clone();
    let loaded = config::load(&Sources::of_process(file, flags(run))).map_err(Failure::Mistakes)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    app::run(&loaded, |_| ()).map_err(Failure::Start)
}

pub(super) fn demo(demo: Demo) -> Result<(), Failure> {
    let place = demo::Place { listen: demo.listen, admin: demo.admin };
    // Without a path of its own the program is most likely found by name.
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("larder"));
    demo::start(&place, &program, |guide| {
        if let Err(failure) = say(guide) {
            tracing::warn!(%failure, "nobody reads what there is to try; the demo runs all the same");
        }
    })?;
    Ok(())
}

pub(super) fn demo_api(arguments: &DemoApi) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::system("cannot start"))?;
    runtime.block_on(async {
        let taken = Failure::system(format!("cannot listen on {}", arguments.listen));
        let listener = TcpListener::bind(arguments.listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(Failure::system("cannot listen"))?;
        let api = demo::api::Api::new().map_err(Failure::system("cannot start"))?;
        // Asked for by hand, since process 1 of a container has no default for them.
        let mut terminate =
            signal(SignalKind::terminate()).map_err(Failure::system("cannot await SIGTERM"))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(Failure::system("cannot await SIGINT"))?;
        say(&format!("# The demo's slow API is up at http://{address}"))?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
        };
        Arc::new(api).serve(listener, stop).await;
        Ok(())
    })
}

/// The flags that are keys of the configuration; `--set` has the last word.
fn flags(run: Run) -> Vec<(String, String)> {
    let named = [
        ("upstream.url", run.upstream),
        ("server.listen", run.listen),
        ("server.admin", run.admin),
        ("redis.url", run.redis),
    ];
    named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).chain(run.set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_keys_and_set_comes_last() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let run = Run {
            config: None,
            upstream: Some("http://u".into()),
            listen: None,
            admin: Some("off".into()),
            redis: Some("redis://r".into()),
            set: vec![pair("server.admin", "127.0.0.1:1")],
        };
        assert_eq!(
            flags(run),
            [
                pair("upstream.url", "http://u"),
                pair("server.admin", "off"),
                pair("redis.url", "redis://r"),
                pair("server.admin", "127.0.0.1:1")
            ]
        );
    }
}
