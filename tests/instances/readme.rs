//! What the README and the compose file say one sees with two instances is what one sees.

use crate::along;
use crate::binary::{SOON, count, using};
use crate::origin::Origin;
use crate::server::{Server, until};

/// The arguments of the `curl` commands that stand in a document, without what is said of them.
fn curls(document: &str) -> Vec<Vec<String>> {
    let commands =
        document.lines().filter_map(|line| line.trim_start_matches('#').trim().strip_prefix("curl "));
    let commands = commands.filter(|command| command.contains("Host: "));
    let command = |line: &str| {
        let line = line.split(" #").next().unwrap();
        // Quoted words are every other one.
        let parts = line.split('"').enumerate();
        let words = parts.flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.collect()
    };
    commands.map(command).collect()
}

#[tokio::test]
async fn two_instances_do_what_is_said_of_them() {
    let _along = along().await;
    for document in [include_str!("../../README.md"), include_str!("../../docker-compose.yml")] {
        let origin =
            Origin::start(|exchange| exchange.answer("200 OK", &["Cache-Control: max-age=60"], b"up"));
        let server = Server::start(&[]).await;
        let (one, other) = (using(&origin, &server).await, using(&origin, &server).await);
        let commands = curls(document);
        let [first, second] = &commands[..] else { panic!("{commands:?}") };
        let play = |words: &[String], published: &str, instance: &crate::larder::Larder| {
            let (url, options) = words.split_last().unwrap();
            let path = url.strip_prefix(published).unwrap_or_else(|| panic!("{url}"));
            let options: Vec<&str> =
                options.iter().map(String::as_str).filter(|word| *word != "-i").collect();
            instance.curl(path, &options).head
        };
        let answer = play(first, "http://127.0.0.1:8080", &one);
        assert!(answer.contains("fwd=uri-miss; fwd-status=200; stored"), "{answer}");
        until("it is written", SOON, async || count(&one, "written") == 1).await;
        let answer = play(second, "http://127.0.0.1:8090", &other);
        assert!(answer.contains("detail=redis"), "{answer}");
    }
}
