//! Three masters, and one replica that may follow the first of them.

use std::time::Duration;

use redis::Value;

use crate::server::{Server, free_port, until};

pub struct Cluster {
    pub masters: Vec<Server>,
    pub replica: Server,
    /// Of each master, where it is secured.
    tls: Vec<u16>,
}

/// The first slot of each master, and one more than the last.
const SLOTS: [u32; 4] = [0, 5461, 10_923, 16_384];

const OPTIONS: [&str; 6] =
    ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "800"];

impl Cluster {
    pub async fn start() -> Self {
        Self::of(async || (Server::start(&OPTIONS).await, None)).await
    }

    /// Reached by TLS, among themselves too. The arguments say with what certificates.
    pub async fn secured(arguments: &[&str]) -> Self {
        Self::of(async || {
            let port = free_port();
            let text = port.to_string();
            let tls = ["--tls-port", &text, "--tls-cluster", "yes", "--tls-replication", "yes"];
            (Server::start(&[&OPTIONS, &tls[..], arguments].concat()).await, Some(port))
        })
        .await
    }

    /// `start` gives a node, and the port by which it is known if that is another.
    async fn of(start: impl AsyncFn() -> (Server, Option<u16>)) -> Self {
        let (mut nodes, mut tls) = (Vec::new(), Vec::new());
        for epoch in 1..=4 {
            let (node, port) = start().await;
            tls.extend(port);
            // Else they would have to find out who is who.
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()]).await;
            nodes.push(node);
        }
        let first = tls.first().unwrap_or(&nodes[0].port).to_string();
        for (node, slots) in nodes.iter().zip(SLOTS.windows(2)) {
            let (from, to) = (slots[0].to_string(), (slots[1] - 1).to_string());
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]).await;
        }
        for node in &nodes[1..] {
            node.ask(&["CLUSTER", "MEET", "127.0.0.1", &first]).await;
        }
        let replica = nodes.pop().unwrap();
        let cluster = Self { masters: nodes, replica, tls };
        for node in cluster.nodes() {
            cluster.is_whole(node, 4).await;
        }
        let leader = cluster.masters[0].text(&["CLUSTER", "MYID"]).await;
        cluster.replica.ask(&["CLUSTER", "REPLICATE", &leader]).await;
        until("the replica follows", Duration::from_secs(10), async || {
            let info = cluster.replica.text(&["INFO", "replication"]).await;
            info.contains("master_link_status:up")
        })
        .await;
        cluster
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Server> {
        self.masters.iter().chain([&self.replica])
    }

    pub async fn is_whole(&self, node: &Server, nodes: usize) {
        let (state, known) = ("cluster_state:ok", format!("cluster_known_nodes:{nodes}\r"));
        until("the cluster is whole", Duration::from_secs(15), async || {
            let info = node.text(&["CLUSTER", "INFO"]).await;
            info.contains(state) && info.contains(&known)
        })
        .await;
    }

    /// The lines for the configuration.
    pub fn lines(&self) -> String {
        let urls: Vec<String> = match &self.tls[..] {
            [] => self.masters.iter().map(|node| format!("'{}'", node.url())).collect(),
            ports => ports.iter().map(|port| format!("'rediss://127.0.0.1:{port}'")).collect(),
        };
        format!("urls = [{}]\nmode = 'cluster'", urls.join(", "))
    }

    /// The slot of a key, and whose it is.
    pub async fn slot(&self, key: &str) -> (String, usize) {
        let Value::Int(slot) = self.masters[1].ask(&["CLUSTER", "KEYSLOT", key]).await else { panic!() };
        let owner = SLOTS.iter().filter(|from| i64::from(**from) <= slot).count() - 1;
        (slot.to_string(), owner)
    }
}
