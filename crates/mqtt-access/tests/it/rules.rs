//! [`Access`] as a broker asks it: who is let in, what he may do, and what a reload changes.

use std::{future::ready, time::Duration};

use mqtt_access::{
    Access, AccessControl, AccessRules, Acl, Identity, IdentityProvider, PasswordChecks, PasswordFile,
    Passwords, Verdict,
};
use mqtt_broker::{
    Broker, ConnectRefusal, ConnectRequest, DropReason, HookFuture, Limits, Listener, Transport,
};
use mqtt_codec::{Connect, Packet, QoS, TopicName, Will};

use crate::client::{Client, connect, start};

/// `secret`, by `mosquitto_passwd`: quick to check.
const SECRET: &str = "$7$101$+8dg1NJHxHE44+lD$BozQwqEfm74JzRcPaVXmCTAAmj5t6cBPcTqCmFAUf3dptxl+WxHvI6l0fac7XKblQHpoB/S3saeur2+5Kntj8g==";
/// `p ässword`.
const OTHER: &str = "$7$101$0ObprBD9HQQNyiOs$f5S5QpuFpjEjPL5vF6fW//0QS9XghxYWuc060ruorSt0JHcMo5e0KPooSz0QRFxCKDaHftblzzKIe3bHrZixjg==";

fn users(lines: &[(&str, &str)]) -> Passwords {
    let lines: Vec<String> = lines.iter().map(|(name, hash)| format!("{name}:{hash}\n")).collect();
    Passwords::new(PasswordFile::parse(&lines.concat()).unwrap(), PasswordChecks::new(1))
}

fn access(lines: &[(&str, &str)], acl: &str) -> Access {
    Access::new().identify(users(lines)).authorize(Acl::parse(acl).unwrap())
}

/// Has an opinion about one user.
struct Fixed(&'static str, Verdict);

impl IdentityProvider for Fixed {
    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict> {
        let is_his = request.client.user_name.as_deref() == Some(self.0);
        Box::pin(ready(if is_his { self.1.clone() } else { Verdict::NoOpinion }))
    }
}

#[tokio::test]
async fn the_first_provider_with_an_opinion_decides_and_the_last_word_is_no() {
    let rules = Access::new()
        .identify(Fixed("banned", Verdict::Deny(ConnectRefusal::NotAuthorized)))
        .identify(users(&[("anna", SECRET), ("banned", SECRET)]))
        .identify(Fixed("anna", Verdict::Allow(Identity::default())))
        .identify(Fixed("carl", Verdict::Allow(Identity::default())));
    let (_broker, address) = start(&AccessControl::new(rules)).await;
    for (user, password, expected) in [
        (Some("anna"), "secret", None),
        (Some("anna"), "wrong", Some(ConnectRefusal::BadUserNameOrPassword)),
        (Some("banned"), "secret", Some(ConnectRefusal::NotAuthorized)),
        (Some("carl"), "", None),
        (Some("dora"), "", Some(ConnectRefusal::BadUserNameOrPassword)),
        (None, "", Some(ConnectRefusal::NotAuthorized)),
    ] {
        let outcome = Client::try_connect(address, connect("c", user, password.as_bytes())).await;
        assert_eq!(outcome.err(), expected, "{user:?} {password}");
    }
}

#[tokio::test]
async fn it_tells_what_has_decided_about_a_client() {
    let told = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&told);
    let rules = Access::new()
        .identify(users(&[("anna", SECRET)]))
        .identify(Fixed("carl", Verdict::Allow(Identity::default())))
        .allow_anonymous(true)
        .tell(move |client, decision| noted.lock().push(format!("{} {decision}", client.client_id)));
    let (_broker, address) = start(&AccessControl::new(rules)).await;
    for (client_id, user) in [("1", Some("anna")), ("2", Some("carl")), ("3", Some("dora")), ("4", None)] {
        let _ = Client::try_connect(address, connect(client_id, user, b"secret")).await;
    }
    let expected = [
        "1 let in by the password file",
        "2 let in by another provider",
        "3 refused: no rule lets it in",
        "4 let in without a name",
    ];
    assert_eq!(*told.lock(), expected);
}

#[tokio::test]
async fn failed_attempts_are_counted_and_then_nobody_listens() {
    let (_broker, address) = start(&AccessControl::new(access(&[("anna", SECRET)], ""))).await;
    for attempt in 0..11 {
        let outcome = Client::try_connect(address, connect("c", Some("anna"), b"guess")).await;
        let expected = if attempt < 10 {
            ConnectRefusal::BadUserNameOrPassword
        } else {
            ConnectRefusal::ServerUnavailable
        };
        assert_eq!(outcome.err(), Some(expected), "attempt {attempt}");
    }
    let right = Client::try_connect(address, connect("c", Some("anna"), b"secret")).await;
    assert_eq!(right.err(), Some(ConnectRefusal::ServerUnavailable));
}

/// Takes its time to refuse everybody.
struct Slow;

impl IdentityProvider for Slow {
    fn identify(&self, _: &ConnectRequest) -> HookFuture<Verdict> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Verdict::Deny(ConnectRefusal::BadUserNameOrPassword)
        })
    }
}

/// They were all looked at before the first one was counted.
#[tokio::test]
async fn who_makes_all_attempts_at_once_is_heard_no_more_often() {
    let (_broker, address) = start(&AccessControl::new(Access::new().identify(Slow))).await;
    let attempts: Vec<_> = (0..100)
        .map(|number| {
            let connect = connect(&format!("c{number}"), Some(&format!("user {number}")), b"guess");
            tokio::spawn(async move { Client::try_connect(address, connect).await.err() })
        })
        .collect();
    let mut heard = 0;
    for attempt in attempts {
        heard += u32::from(attempt.await.unwrap() == Some(ConnectRefusal::BadUserNameOrPassword));
    }
    assert_eq!(heard, 10);
}

/// From many addresses, each of which fails less often than one may.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn failed_attempts_for_a_user_are_counted_wherever_they_come_from() {
    let rules = access(&[("anna", SECRET), ("berta", SECRET)], "");
    let (_broker, address) = start(&AccessControl::new(rules)).await;
    let attempt = async |from: u8, user, password: &'static [u8]| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, from], 0).into()).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Client::try_connect_over(stream, connect("c", Some(user), password)).await.err()
    };
    assert_eq!(attempt(2, "anna", b"secret").await, None);
    for n in 0..30 {
        let refused = attempt(10 + n % 5, "anna", b"guess").await;
        assert_eq!(refused, Some(ConnectRefusal::BadUserNameOrPassword), "attempt {n}");
    }
    assert_eq!(attempt(20, "anna", b"secret").await, Some(ConnectRefusal::ServerUnavailable));
    assert_eq!(attempt(20, "berta", b"secret").await, None);
    assert_eq!(attempt(2, "anna", b"secret").await, None, "where she has been before");
}

/// More checks than may wait, each of them slow; whoever is connected already notices nothing.
#[tokio::test]
async fn a_flood_of_connects_is_refused_in_part_and_stalls_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    mqtt_access::edit(&file, "anna", mqtt_access::Edit::Set { password: b"secret" }).unwrap();
    let users = Passwords::new(PasswordFile::load(&file).unwrap(), PasswordChecks::new(1));
    let control = AccessControl::new(Access::new().identify(users));
    let mut limits = Limits::default();
    limits.hook_timeout = Duration::from_mins(10); // So many checks, on whichever machine.
    let broker = control.install(Broker::builder().limits(limits)).build();
    let address = broker.listen("127.0.0.1:0").await.unwrap();
    let mut anna = Client::connected(address, "a", "anna", "secret").await;
    let flood: Vec<_> = (0..100)
        .map(|number| {
            let connect = connect(&format!("c{number}"), Some("anna"), b"secret");
            tokio::spawn(async move { Client::try_connect(address, connect).await.err() })
        })
        .collect();
    anna.publish("t", "x").await;
    let answered_meanwhile = flood.iter().filter(|attempt| attempt.is_finished()).count();
    let mut refused = 0;
    for attempt in flood {
        match attempt.await.unwrap() {
            None => {}
            Some(ConnectRefusal::ServerUnavailable) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0 && answered_meanwhile < 100, "{refused} {answered_meanwhile}");
}

#[tokio::test]
async fn each_listener_has_its_own_rules() {
    let rules = AccessRules::from(access(&[("anna", SECRET)], ""))
        .listener("open", Access::new().allow_anonymous(true));
    let broker = AccessControl::new(rules).install(Broker::builder()).build();
    let open = broker.listen_with("127.0.0.1:0", Listener::new("open", Transport::tcp())).await.unwrap();
    let closed = broker.listen_with("127.0.0.1:0", Listener::new("closed", Transport::tcp())).await.unwrap();
    let anonymous = || connect("c", None, b"");
    assert!(Client::try_connect(open, anonymous()).await.unwrap().subscribe("#").await);
    assert_eq!(Client::try_connect(closed, anonymous()).await.err(), Some(ConnectRefusal::NotAuthorized));
    let named = Client::try_connect(open, connect("c", Some("anna"), b"secret")).await;
    assert_eq!(named.err(), Some(ConnectRefusal::BadUserNameOrPassword), "who gives a name has to prove it");
}

#[tokio::test]
async fn a_will_that_may_not_be_published_is_refused_while_there_is_somebody_to_tell() {
    let acl = "user anna\ntopic write a\ntopic publish b\n";
    let (_broker, address) = start(&AccessControl::new(access(&[("anna", SECRET)], acl))).await;
    for (topic, retain, allowed) in
        [("a", true, true), ("b", false, true), ("b", true, false), ("c", false, false)]
    {
        let topic = TopicName::try_from(topic).unwrap();
        let will = Some(Will { topic, message: "".into(), qos: QoS::AtMostOnce, retain });
        let connect = Connect { will, ..connect("c", Some("anna"), b"secret") };
        let outcome = Client::try_connect(address, connect).await.err();
        assert_eq!(outcome, (!allowed).then_some(ConnectRefusal::NotAuthorized));
    }
}

/// `#` may be held by whoever may read anything.
#[tokio::test]
async fn each_message_is_judged_when_it_leaves() {
    let acl = "user anna\ntopic read a/#\ntopic deny a/secret\nuser berta\ntopic #\n";
    let (broker, address) =
        start(&AccessControl::new(access(&[("anna", SECRET), ("berta", SECRET)], acl))).await;
    let mut anna = Client::connected(address, "a", "anna", "secret").await;
    let mut berta = Client::connected(address, "b", "berta", "secret").await;
    assert!(anna.subscribe("#").await);
    for topic in ["b", "a/secret", "a/open"] {
        berta.publish(topic, "x").await;
    }
    assert_eq!(anna.message().await, "a/open x");
    assert_eq!(broker.counts().dropped_for(DropReason::Withheld), 2);
}

#[tokio::test]
async fn what_waited_and_what_was_retained_is_judged_by_the_rules_in_force_when_it_leaves() {
    let all = "pattern readwrite #\n";
    let control = AccessControl::new(access(&[("anna", SECRET)], all));
    let (broker, address) = start(&control).await;
    let persistent = || Connect { clean_session: false, ..connect("a", Some("anna"), b"secret") };
    let mut absent = Client::try_connect(address, persistent()).await.unwrap();
    assert!(absent.subscribe_at("#", QoS::AtLeastOnce).await);
    absent.send(Packet::Disconnect).await;
    assert!(absent.recv().await.is_none());
    let mut sender = Client::connected(address, "b", "anna", "secret").await;
    for topic in ["secret", "open"] {
        sender.retain(topic, "x").await;
    }
    control.replace(access(&[("anna", SECRET)], &format!("{all}pattern deny secret\n")));
    control.recheck(&broker).await;
    // What waited is delivered to its client, what is retained to a new subscriber.
    let mut back = Client::try_connect(address, persistent()).await.unwrap();
    let mut late = Client::connected(address, "c", "anna", "secret").await;
    assert!(late.subscribe("#").await);
    for client in [&mut back, &mut late] {
        assert_eq!(client.message().await, "open x");
    }
    assert_eq!(broker.counts().dropped_for(DropReason::Withheld), 2);
}

#[tokio::test]
async fn a_reload_takes_away_what_is_gone_and_leaves_everybody_else_alone() {
    let both = [("anna", SECRET), ("berta", SECRET)];
    let control = AccessControl::new(access(&both, "pattern readwrite #"));
    let (broker, address) = start(&control).await;
    let mut anna = Client::connected(address, "a", "anna", "secret").await;
    let mut berta = Client::connected(address, "b", "berta", "secret").await;
    for filter in ["x/#", "y", "z/z"] {
        assert!(anna.subscribe(filter).await);
    }
    // Berta has another password now, and of three subscriptions two are still allowed, one of them not for all topics.
    let new = [("anna", SECRET), ("berta", OTHER)];
    control.replace(access(&new, "pattern readwrite x/#\npattern deny x/secret\npattern readwrite y\n"));
    control.recheck(&broker).await;
    assert!(berta.recv().await.is_none());
    let mut berta = Client::connected(address, "b", "berta", "p ässword").await;
    assert!(!berta.subscribe("z/z").await);
    for (topic, payload) in [("x/secret", "1"), ("z/z", "2"), ("y", "3"), ("x/1", "4")] {
        berta.publish(topic, payload).await;
    }
    assert_eq!([anna.message().await, anna.message().await], ["y 3", "x/1 4"]);
    let counts = broker.counts();
    assert_eq!(
        (counts.dropped_for(DropReason::Withheld), counts.dropped_for(DropReason::Refused)),
        (0, 2),
        "what nobody may publish is dropped before anybody is asked about it"
    );
    assert_eq!(broker.snapshot().subscriptions, 2);
    broker.shutdown(Duration::from_secs(30)).await.unwrap();
}

/// He went on, without a name, for as long as he liked.
#[tokio::test]
async fn who_has_no_name_is_disconnected_when_nobody_is_let_in_without_one() {
    let rules = |anonymous| access(&[("anna", SECRET)], "topic #\npattern #\n").allow_anonymous(anonymous);
    let control = AccessControl::new(rules(true));
    let (broker, address) = start(&control).await;
    let mut nameless = Client::try_connect(address, connect("n", None, b"")).await.unwrap();
    let mut anna = Client::connected(address, "a", "anna", "secret").await;
    control.recheck(&broker).await;
    assert!(nameless.subscribe("#").await && anna.subscribe("#").await);
    control.replace(rules(false));
    control.recheck(&broker).await;
    assert!(nameless.recv().await.is_none());
    anna.publish("t", "x").await;
    assert_eq!(anna.message().await, "t x");
}
