//! `exec` and `attach`.

use serde_json::{Value, json};

use super::ground::{Ground, running};
use super::spdy::{self, Said};

const SUCCESS: &str = r#"{"metadata":{},"status":"Success"}"#;
const V5: &str = "v5.channel.k8s.io";

/// The query for a command of the shell.
fn shell(script: &str, streams: &str) -> String {
    let script: String = script.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("exec?command=sh&command=-c&command={script}&{streams}")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_command_runs_with_its_streams_and_its_exit_code() {
    let ground = Ground::new().await;
    let query = shell(
        "cat; echo sorry >&2; exit 3",
        "container=c&stdin=true&stdout=true&stderr=true",
    );
    let mut client = ground.websocket(&query, V5).await;
    assert_eq!(client.protocol, V5);
    client.say(0, b"hello ").await;
    client.say(0, b"there").await;
    client.say(255, &[0]).await;
    let (stdout, stderr, status) = client.all().await;
    assert_eq!((&*stdout, &*stderr), ("hello there", "sorry\n"));
    let expected = json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message":
            "command terminated with non-zero exit code: command terminated with exit code 3",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
    assert_eq!(json(&status), expected);
}

#[tokio::test]
async fn what_a_client_may_choose_of_is_upstreams() {
    let ground = Ground::new().await;
    let check = async |offered: &str, chosen: &str, expected: &str| {
        let query = shell("echo out; exit 4", "stdout=true");
        let client = ground.websocket(&query, offered).await;
        assert_eq!(client.protocol, chosen);
        let (stdout, _, status) = client.all().await;
        assert_eq!(stdout, "out\n");
        assert!(status.starts_with(expected), "{status}");
    };
    check("v4.channel.k8s.io, v5.channel.k8s.io", V5, "{").await;
    check(
        "v9, v4.channel.k8s.io, channel.k8s.io",
        "v4.channel.k8s.io",
        "{",
    )
    .await;
    let words = "command terminated with non-zero exit code";
    check("channel.k8s.io", "channel.k8s.io", words).await;
    let query = shell("exit 4", "stdout=true");
    let offered = "v5.channel.k8s.io, v4.channel.k8s.io, channel.k8s.io";
    let (_client, chosen) = spdy::Client::connect(&ground, &query, offered).await;
    assert_eq!(chosen, V5);
    let head = format!(
        "POST /{query} HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v1"
    );
    let (head, body) = ground.ask(&head).await;
    assert!(head.starts_with("HTTP/1.0 403 "), "{head}");
    let message = "unable to upgrade: unable to negotiate protocol: client supports [v1], server accepts [v5.channel.k8s.io v4.channel.k8s.io]";
    assert_eq!(json(&body)["message"], message);
}

#[tokio::test]
async fn a_command_runs_over_spdy() {
    let ground = Ground::new().await;
    let query = shell("cat; echo sorry >&2", "stdin=true&stdout=true&stderr=true");
    let (mut client, chosen) =
        spdy::Client::connect(&ground, &query, "v4.channel.k8s.io, v3.channel.k8s.io").await;
    assert_eq!(chosen, "v4.channel.k8s.io");
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        client.open(stream, &[("streamtype", kind)]).await;
    }
    client.say(3, b"hello").await;
    client.finish(3).await;
    let mut said = [String::new(), String::new(), String::new(), String::new()];
    let mut ended = Vec::new();
    loop {
        match client.hear().await.unwrap() {
            Said::Data(stream, data) => {
                let text = std::str::from_utf8(&data).unwrap();
                said[stream as usize / 2].push_str(text);
            }
            Said::End(stream) => ended.push(stream),
            Said::GoAway => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said, [SUCCESS, "", "hello", "sorry\n"]);
    // What it wrote has ended before how it ended is said.
    assert_eq!(ended.last(), Some(&1));
    ended.sort_unstable();
    assert_eq!(ended, [1, 5, 7]);
}

#[tokio::test]
async fn a_terminal_has_the_size_of_the_clients() {
    let ground = Ground::new().await;
    let query = shell(
        "until [ \"$(stty size)\" = '40 100' ]; do :; done; read line; echo sized",
        "stdin=true&stdout=true&stderr=true&tty=true",
    );
    let mut client = ground.websocket(&query, V5).await;
    client.say(4, b"{\"Width\":1,\"Height\":1}\n").await;
    client.say(4, b"{\"Width\":100,\"Height\":40}\n").await;
    client.say(0, b"go\n").await;
    let (stdout, stderr, status) = client.all().await;
    assert_eq!(stdout, "go\r\nsized\r\n");
    assert_eq!((&*stderr, &*status), ("", SUCCESS));
}

#[tokio::test]
async fn more_than_fits_anywhere_is_carried_both_ways() {
    let ground = Ground::new().await;
    let query = shell("cat", "stdin=true&stdout=true");
    let mut client = ground.websocket(&query, V5).await;
    let block = [7; 50_000];
    let mut heard = 0;
    // Each time a little more than is heard, so that all the room on the way is in use.
    for _ in 0..60 {
        client.say(0, &block).await;
        if let Some((1, data)) = client.hear().await {
            heard += data.len();
        }
    }
    client.say(255, &[0]).await;
    let (rest, _, status) = client.all().await;
    assert_eq!(heard + rest.len(), 60 * block.len());
    assert_eq!(status, SUCCESS);
    let query = shell("head -c 3000000 /dev/zero", "stdout=true");
    let (stdout, _, status) = ground.websocket(&query, V5).await.all().await;
    assert_eq!((stdout.len(), &*status), (3_000_000, SUCCESS));
}

#[tokio::test]
async fn a_daemon_that_a_command_leaves_behind_is_not_waited_for() {
    let ground = Ground::new().await;
    let query = shell("sleep 30 & echo done", "stdout=true&stderr=true");
    let (stdout, _, status) = ground.websocket(&query, V5).await.all().await;
    assert_eq!((&*stdout, &*status), ("done\n", SUCCESS));
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_streams_with_it() {
    let ground = Ground::new().await;
    let query = shell("cat; exit 9", "stdin=true&stdout=true");
    let mut client = ground.websocket(&query, V5).await;
    client.say(0, b"x").await;
    while client.hear().await != Some((1, "x".into())) {}
    drop(client);
    assert_eq!(ground.exit().await, 9);
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_an_internal_error() {
    let ground = Ground::new().await;
    let query = "exec?command=/no/such/command&stdout=true";
    let (_, _, status) = ground.websocket(query, V5).await.all().await;
    let status = json(&status);
    assert_eq!(status["reason"], "InternalError");
    assert_eq!(status["code"], 500);
    let message = "Internal error occurred: error executing command in container: No such file or directory (os error 2)";
    assert_eq!(status["message"], message);
}

#[tokio::test]
async fn whoever_attaches_gets_what_the_container_writes() {
    let ground = Ground::new().await;
    let mut client = ground
        .websocket("attach?stdin=true&stdout=true&stderr=true", V5)
        .await;
    client.say(0, b"hello").await;
    client.say(255, &[0]).await;
    let (stdout, _, status) = client.all().await;
    // However it ended: that is told by the pod's status.
    assert_eq!((&*stdout, &*status), ("hello", SUCCESS));
}

#[tokio::test]
async fn a_container_that_does_not_run_is_said_in_upstreams_words() {
    let ended = json!({"name": "c", "state": {"terminated": {"containerID": "probelet://x"}}});
    let stopped = Ground::with("true", &ended).await;
    let runs = Ground::with("true", &running(1)).await;
    let spdy =
        "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io";
    let check = async |ground: &Ground, query: &str, code: &str, text: &str| {
        let request = format!("POST /{query} HTTP/1.0\r\n{spdy}");
        let (head, body) = ground.ask(&request).await;
        assert!(head.starts_with(&format!("HTTP/1.0 {code} ")), "{head}");
        assert!(head.contains("content-type: text/plain"), "{head}");
        assert_eq!(body, format!("{text}\n"));
        let client = ground.websocket(query, V5).await;
        let (stdout, _, status) = client.all().await;
        assert_eq!(stdout, "");
        let message = format!("Internal error occurred: unable to upgrade connection: {text}");
        assert_eq!(json(&status)["message"], message);
    };
    let query = "exec?command=ls&stdout=true";
    check(&stopped, query, "500", "container not found (\"c\")").await;
    let text = "container c not found in pod p_ns";
    check(&stopped, "attach?stdout=true", "500", text).await;
    let text = "you must specify at least 1 of stdin, stdout, stderr";
    check(&runs, "exec?command=ls", "400", text).await;
    check(&runs, "attach?tty=true&stderr=true", "400", text).await;
    let text = "you must specify at least one command for the container";
    check(&runs, "exec?stdout=true", "400", text).await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_answered_by_a_status() {
    let ground = Ground::new().await;
    let check = async |head: &str, code: u16, message: &str| {
        let (_, body) = ground.ask(head).await;
        let status = json(&body);
        assert_eq!(
            (status["code"].as_u64(), &status["message"]),
            (Some(u64::from(code)), &json!(message))
        );
    };
    let required = "Upgrade request required";
    check("GET /exec?command=ls&stdout=true HTTP/1.0", 400, required).await;
    check("POST /portforward HTTP/1.0", 400, required).await;
    let invalid = "container x is not valid for pod p";
    check("GET /exec?container=x HTTP/1.0", 400, invalid).await;
    check("GET /log?container=x HTTP/1.0", 400, invalid).await;
    let method = "the server does not allow this method on the requested resource";
    check("DELETE /exec HTTP/1.0", 405, method).await;
    check("POST /log HTTP/1.0", 405, method).await;
    let nothing = "the server could not find the requested resource";
    check("GET /proxy HTTP/1.0", 404, nothing).await;
    check("GET /log?a=%zz HTTP/1.0", 400, "invalid URL escape").await;
}
