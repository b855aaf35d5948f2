//! Each example starts, says where it listens, and does for a client what it is there to show.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use mqtt_codec::{Connack, Connect, ConnectRefusal, Packet, PacketId, SubscribeReturnCode};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, credentials, publish},
};

/// A running example; killed when dropped.
struct Example {
    process: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Example {
    fn start(name: &str) -> Self {
        let mut process = Command::new(executable("mqtt-broker", name))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        let line = next_line(&mut output);
        let address =
            line.strip_prefix("listening on ").expect("where it listens").parse().expect("an address");
        Self { process, output, address }
    }

    fn next_line(&mut self) -> String {
        next_line(&mut self.output)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn next_line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

/// Where Cargo puts the example: beside the directory of this test. `cargo test` has built it, unless it was told to build
/// this one target alone.
fn executable(package: &str, name: &str) -> PathBuf {
    let own = env::current_exe().expect("the path of this test");
    let profile = own.ancestors().nth(2).expect("target/<profile>/deps/it");
    let path = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates");
    let source = crates.join(package).join("examples").join(format!("{name}.rs"));
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if modified(&path) < modified(&source) {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", package, "--example", name]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo").success(), "{name} does not build");
    }
    path
}

#[tokio::test]
async fn embedded_publishes_its_uptime() {
    let example = Example::start("embedded");
    let mut client = Client::connected(example.address, "a").await;
    client.subscribe("clock/#", Q0).await;
    let message = client.message().await;
    assert!(message.starts_with("clock/uptime ") && message.ends_with(" s"), "{message:?}");
}

#[tokio::test]
async fn hooks_gives_each_user_its_rights() {
    let mut example = Example::start("hooks");
    let user = |name: &str| Connect { credentials: credentials(name, name), ..connect(name) };
    let mut stranger = Client::open(example.address).await;
    let refused = Connack::Refused(ConnectRefusal::BadUserNameOrPassword);
    assert_eq!(stranger.connect(user("stranger")).await, refused);
    let wrong = Connect { credentials: credentials("root", "wrong"), ..connect("a") };
    assert_eq!(Client::open(example.address).await.connect(wrong).await, refused);

    let (mut root, _) = Client::accepted(example.address, user("root")).await;
    assert_eq!(root.subscribe("#", Q2).await, SubscribeReturnCode::Granted(Q2));
    for (name, granted) in [
        ("qos0", SubscribeReturnCode::Granted(Q0)),
        ("qos1", SubscribeReturnCode::Granted(Q1)),
        ("publishonly", SubscribeReturnCode::Failure),
        ("subscribeonly", SubscribeReturnCode::Granted(Q2)),
    ] {
        let (mut client, _) = Client::accepted(example.address, user(name)).await;
        assert_eq!(client.subscribe("own", Q2).await, granted, "{name}");
        client.publish("news", name, Q1).await;
        client.disconnect().await;
        assert_eq!(example.next_line(), format!("{name} left: the client disconnected"));
    }
    // What the others published was dropped.
    root.send(Packet::Publish(publish("news", "root", Q0, PacketId::FIRST))).await;
    assert_eq!([root.message().await, root.message().await], ["news publishonly", "news root"]);
}

#[tokio::test]
async fn observer_prints_what_happens() {
    let mut example = Example::start("observer");
    let mut client = Client::connected(example.address, "a").await;
    client.subscribe("t", Q1).await;
    client.disconnect().await;
    let lines: Vec<String> = (0..5).map(|_| example.next_line()).collect();
    assert!(lines[0].contains("SessionCreated"), "{lines:?}");
    assert!(lines[1].starts_with("+ a from 127.0.0.1:"), "{lines:?}");
    assert!(lines[2].contains("Subscribed") && lines[3].contains("SessionEnded"), "{lines:?}");
    assert_eq!(lines[4], "- a: the client disconnected");
}

/// The examples of mqtt-codec that are clients, against a broker.
#[tokio::test(flavor = "multi_thread")]
async fn the_codecs_clients_get_their_answers() {
    let broker = mqtt_broker::Broker::builder().build();
    let address = broker.listen("127.0.0.1:0").await.unwrap().to_string();
    let accepted = "Connack(Accepted { session_present: false })\n";
    for (name, printed) in [
        (
            "client",
            "Suback(Suback { packet_id: PacketId(1), return_codes: [Granted(AtMostOnce)] })\ngreetings/world: hello\n",
        ),
        ("async_client", &format!("{accepted}Pingresp\n")),
    ] {
        let mut client = Command::new(executable("mqtt-codec", name));
        client.arg(&address);
        let output = tokio::task::spawn_blocking(move || client.output()).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{name}");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
