//! Redis, with a replica that can take its place, and with what it once had on disk.

use std::path::PathBuf;
use std::time::Duration;

use crate::server::{Server, until};

const SOON: Duration = Duration::from_secs(10);

pub struct Stores {
    /// What the relays lead to.
    pub serving: Server,
    /// Copies it.
    following: Server,
    /// What was saved a while ago.
    older: Option<Vec<u8>>,
}

impl Stores {
    pub async fn start() -> Self {
        let stores =
            Self { serving: Server::start(&[]).await, following: Server::start(&[]).await, older: None };
        stores.follow().await;
        stores
    }

    pub async fn says(&self, words: &[&str]) {
        until("Redis does as it is told", SOON, async || self.serving.says(words, "").await).await;
    }

    /// Remembers what there is now.
    pub async fn save(&mut self) {
        self.says(&["SAVE"]).await;
        self.older = Some(std::fs::read(dump(&self.serving)).unwrap());
    }

    pub fn kill(&mut self) {
        self.serving.kill();
        // What a replica was sent is left where a dump would be.
        drop(std::fs::remove_file(dump(&self.serving)));
    }

    pub async fn come_back_empty(&mut self) {
        self.serving.start_again().await;
    }

    /// With what was saved last, if anything was.
    pub async fn come_back_older(&mut self) {
        if let Some(older) = &self.older {
            std::fs::write(dump(&self.serving), older).unwrap();
        }
        self.serving.start_again().await;
    }

    /// The replica, which copies nothing more.
    pub async fn promote(&self) {
        until("the replica is promoted", SOON, async || {
            self.following.says(&["REPLICAOF", "NO", "ONE"], "OK").await
        })
        .await;
    }

    /// Where the promoted one is.
    pub fn heir(&self) -> u16 {
        self.following.port
    }

    /// The promoted one serves; the other, which was killed, comes back as its replica.
    pub async fn change_places(&mut self) {
        std::mem::swap(&mut self.serving, &mut self.following);
        self.following.start_again().await;
        self.follow().await;
    }

    async fn follow(&self) {
        let port = self.serving.port.to_string();
        until("the replica copies", SOON, async || {
            self.following.says(&["REPLICAOF", "127.0.0.1", &port], "OK").await
        })
        .await;
    }

    /// Whether the replica has what there is.
    pub async fn is_followed(&self) -> bool {
        self.following.says(&["INFO", "replication"], "master_link_status:up").await
    }
}

fn dump(server: &Server) -> PathBuf {
    server.folder.path().join("dump.rdb")
}

#[tokio::test]
async fn it_comes_back_with_nothing_or_with_what_was_or_as_another() {
    let mut stores = Stores::start().await;
    let has = async |stores: &Stores, value: &str| {
        let within = Duration::from_secs(2);
        until(value, within, async || stores.serving.says(&["GET", "key"], value).await).await;
    };
    stores.says(&["SET", "key", "before"]).await;
    stores.save().await;
    stores.says(&["SET", "key", "after"]).await;
    has(&stores, "after").await;
    stores.kill();
    stores.come_back_older().await;
    has(&stores, "before").await;
    stores.kill();
    stores.come_back_empty().await;
    assert!(!stores.serving.says(&["GET", "key"], "").await, "a nil is no text");
    stores.says(&["SET", "key", "copied"]).await;
    until("it is copied", SOON, async || {
        stores.is_followed().await && stores.following.says(&["GET", "key"], "copied").await
    })
    .await;
    stores.promote().await;
    stores.says(&["SET", "key", "lost"]).await;
    let heir = stores.heir();
    stores.kill();
    stores.change_places().await;
    assert_eq!(stores.serving.port, heir);
    has(&stores, "copied").await;
    until("the old one copies", SOON, async || stores.is_followed().await).await;
}
