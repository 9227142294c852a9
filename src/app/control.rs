//! What the admin listener answers from.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::admin::{self, Admin, EntryAnswer, EntryQuestion, Readiness};
use crate::clock::Clock;
use crate::config::{Loaded, Settings};
use crate::invalidation::{Outcome, Receipt};
use crate::object::Tag;
use crate::proxy::Proxy;
use crate::telemetry::Telemetry;
use crate::upstream::NetConnector;

/// All of it.
pub(super) fn administration(
    loaded: &Loaded,
    listen: SocketAddr,
    proxy: &Arc<Proxy<NetConnector>>,
    telemetry: Arc<Telemetry>,
    readiness: Arc<Readiness>,
) -> Admin {
    let asked = Arc::downgrade(proxy);
    let entry = move |question: EntryQuestion| {
        let proxy = asked.upgrade();
        let held = async move {
            let proxy = proxy.ok_or("shutting down")?;
            let EntryQuestion { method, url, headers, body } = question;
            let entry = proxy.entry(listen, &method, &url, &headers, &body).await?;
            serde_json::to_value(entry).map_err(|error| error.to_string())
        };
        Box::pin(held) as EntryAnswer
    };
    Admin::new(admin::Parts {
        telemetry,
        token: loaded.settings.admin_token.clone(),
        config: loaded.blanked(),
        readiness,
        entry: Box::new(entry),
        ways: ways(&loaded.settings, proxy),
        started: tokio::time::Instant::now(),
    })
}

/// What is done with what comes from outside.
fn ways(settings: &Settings, proxy: &Arc<Proxy<NetConnector>>) -> admin::Ways {
    let declaring = Arc::downgrade(proxy);
    let invalidate = move |event, wait, within| {
        let proxy = declaring.upgrade();
        let acknowledged = async move {
            match proxy {
                Some(proxy) => proxy.record().acknowledge(event, wait, within).await,
                None => Receipt::nothing(Outcome::NotLogged),
            }
        };
        Box::pin(acknowledged) as admin::Acknowledged
    };
    let routes: Vec<Arc<str>> =
        settings.routes.iter().chain([&settings.unrouted]).map(|route| route.name.clone()).collect();
    let (resolving, naming) = (Arc::downgrade(proxy), Arc::downgrade(proxy));
    let resolve = move |path: &str| resolving.upgrade().map_or(Tag::named(path), |proxy| proxy.url(path));
    let everything: Vec<Tag> = routes.iter().map(|name| Tag::route(name)).collect();
    let credential = move |text: &str| {
        let proxy = naming.upgrade();
        // Before instances have agreed on how they name what is kept for whom, nobody can say what that is: so it is all.
        let knows = |proxy: &Arc<Proxy<_>>| proxy.shared().is_none_or(|shared| shared.has_agreed());
        proxy.filter(knows).map_or_else(|| everything.clone(), |proxy| proxy.credential(text))
    };
    admin::Ways {
        invalidate: Box::new(invalidate),
        resolve: Box::new(resolve),
        credential: Box::new(credential),
        limits: settings.invalidation,
        routes,
        hooks: settings.hooks.clone(),
        clock: Clock::System,
        places: admin::Places::default(),
    }
}
