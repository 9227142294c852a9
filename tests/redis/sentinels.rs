//! A master with a replica, and three sentinels that watch them.

use std::time::Duration;

use crate::server::{REDIS, Server, folder, free_port, until};

pub struct Sentinels {
    pub watchers: Vec<Server>,
    pub master: Server,
    pub replica: Server,
}

impl Sentinels {
    pub async fn start() -> Self {
        let (master, replica) = (Server::start(&[]).await, Server::start(&[]).await);
        replica.ask(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]).await;
        until("the replica follows", Duration::from_secs(10), async || {
            replica.text(&["INFO", "replication"]).await.contains("master_link_status:up")
        })
        .await;
        let mut watchers = Vec::new();
        for _ in 0..3 {
            watchers.push(Self::sentinel(master.port).await);
        }
        let all = Self { watchers, master, replica };
        for sentinel in &all.watchers {
            until("the sentinels know each other and the replica", Duration::from_secs(15), async || {
                let info = sentinel.text(&["INFO", "sentinel"]).await;
                info.contains("status=ok") && info.contains("slaves=1") && info.contains("sentinels=3")
            })
            .await;
        }
        all
    }

    async fn sentinel(master: u16) -> Server {
        let folder = folder();
        let file = folder.path().join("sentinel.conf");
        let port = free_port();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor shop 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 3000\n",
            folder.path().display(),
        );
        std::fs::write(&file, text).unwrap();
        Server::by_file(REDIS, folder, port, &[&file.display().to_string(), "--sentinel"]).await
    }

    pub fn lines(&self) -> String {
        let urls: Vec<String> = self.watchers.iter().map(|node| format!("'{}'", node.url())).collect();
        format!("urls = [{}]\nmode = 'sentinel'\nmaster = 'shop'", urls.join(", "))
    }
}
