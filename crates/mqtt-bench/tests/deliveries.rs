//! Servers that hand on something else than what they should, or to somebody else: the generator must say so, and must
//! not call a fault what the standard allows.

use std::{
    mem,
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

use mqtt_bench::{BenchError, Report};

mod played;
#[path = "played/server.rs"]
mod server;

use played::{Program, read_frame};
use server::{
    CONNECT, DISCONNECT, Honest, PUBLISH, SUBSCRIBE, assert_found, assert_sound, run, told, topic, try_run,
};

const AMONG_TEN: &str = "subscriptions -n 10 -c 1 --batch 5 --kind exact --publishers 1 --messages 100";

#[test]
fn order_is_promised_of_one_topic_alone() {
    let mut honest = Honest::default();
    let mut held = None;
    let report = run(AMONG_TEN, move |conn, frame| {
        let mut deeds = honest.answer(conn, frame);
        if frame[0] >> 4 == PUBLISH {
            // Of two under different topics the second goes first.
            match held.take() {
                None => held = deeds.pop(),
                Some((to, before)) if topic(&before) == topic(frame) => deeds.insert(0, (to, before)),
                Some(before) => deeds.push(before),
            }
        }
        deeds
    });
    assert_sound(&report);
}

#[test]
fn what_outlives_its_clearing_is_found_though_it_comes_with_the_suback() {
    let mut honest = Honest::default();
    let mut kept = Vec::new();
    let report = run("retained --qos 0 -n 5 --settle 0", move |conn, frame| {
        let mut deeds = honest.answer(conn, frame);
        match frame[0] >> 4 {
            // A payload is for keeping; what is without one ought to clear.
            PUBLISH if frame.len() > 64 => kept.extend_from_slice(frame),
            SUBSCRIBE => deeds.iter_mut().for_each(|(_, suback)| suback.extend_from_slice(&kept)),
            _ => {}
        }
        deeds
    });
    assert_found(&report, "5 retained messages outlived an empty payload");
}

#[test]
fn two_answers_to_one_client_are_none_to_another() {
    let failed = try_run("connect -c 2 --patience 500ms", |conn, _| match conn {
        0 => vec![(0, vec![0x20, 2, 0, 0, 0x20, 2, 0, 0])],
        _ => Vec::new(),
    });
    assert_eq!(failed.unwrap_err().to_string(), "the server sent a CONNACK that nobody waited for");
}

const ONE_PAIR: &str = "p2p -n 1 --messages 4 --patience 300ms";

#[test]
fn a_lower_qos_than_was_asked_for_is_no_grant() {
    let mut honest = Honest::default();
    let failed = try_run(&format!("{ONE_PAIR} --qos 1"), move |conn, frame| match frame[0] >> 4 {
        SUBSCRIBE => vec![(conn, vec![0x90, 3, frame[2], frame[3], 0])],
        _ => honest.answer(conn, frame),
    });
    let failed = failed.unwrap_err().to_string();
    assert_eq!(failed, "client bench-sub-0: the server granted QoS 0 where 1 was asked for");
}

#[test]
fn each_filter_has_a_code_of_its_own() {
    let mut honest = Honest::default();
    let failed = try_run(&format!("{AMONG_TEN} --patience 300ms"), move |conn, frame| match frame[0] >> 4 {
        SUBSCRIBE => vec![(conn, vec![0x90, 3, frame[2], frame[3], 0]); 5],
        _ => honest.answer(conn, frame),
    });
    assert_eq!(failed.unwrap_err().to_string(), "the server sent a malformed SUBACK");
}

#[test]
fn a_message_with_a_lower_qos_is_found() {
    let mut honest = Honest::default();
    let report = run(&format!("{ONE_PAIR} --qos 1"), move |conn, frame| {
        let mut deeds = honest.answer(conn, frame);
        for (_, message) in deeds.iter_mut().filter(|(_, bytes)| bytes[0] >> 4 == PUBLISH) {
            let id_at = 4 + topic(message).len();
            message.drain(id_at..id_at + 2);
            message[0] = 0x30;
            message[1] -= 2;
        }
        deeds
    });
    assert_found(&report, "4 messages came with another QoS than they should");
}

#[test]
fn an_acknowledgement_of_another_qos_is_found() {
    for (qos, answer) in [(1, 0x70), (2, 0x40), (2, 0x70)] {
        let mut honest = Honest::default();
        let report = run(&format!("{ONE_PAIR} --qos {qos}"), move |conn, frame| {
            let mut deeds = honest.answer(conn, frame);
            for (_, answered) in deeds.iter_mut().filter(|(_, bytes)| matches!(bytes[0], 0x40 | 0x50)) {
                answered[0] = answer;
            }
            deeds
        });
        assert_found(&report, "an acknowledgement of nothing");
    }
}

#[test]
fn the_time_in_which_a_lost_message_is_waited_for_is_not_read_in() {
    let mut honest = Honest::default();
    let mut kept = Vec::new();
    let report = run("retained --qos 0 -n 5 --settle 0 --patience 1s", move |conn, frame| {
        let mut deeds = honest.answer(conn, frame);
        match frame[0] >> 4 {
            PUBLISH => kept = frame.to_vec(),
            SUBSCRIBE if conn == 1 => deeds.push((conn, kept.clone())),
            _ => {}
        }
        deeds
    });
    assert_found(&report, "4 lost");
    assert!(report.figure("measured time").unwrap() < 0.5, "{}", report.table());
}

#[test]
fn a_message_to_whose_filters_do_not_match_is_found() {
    let mut honest = Honest::default();
    let words =
        "subscriptions -n 10 -c 2 --batch 5 --kind exact --publishers 1 --messages 50 --patience 300ms";
    let report = run(words, move |conn, frame| {
        let mut deeds = honest.answer(conn, frame);
        if frame[0] >> 4 == PUBLISH {
            for (to, _) in &mut deeds {
                *to = 1 - *to;
            }
        }
        deeds
    });
    assert_found(&report, "50 lost, 0 duplicated, 0 reordered, 50 misrouted");
}

#[test]
fn what_was_cut_or_changed_on_its_way_is_found() {
    let spoils: [fn(&mut Vec<u8>); 3] = [
        |message| {
            message.truncate(message.len() - 1);
            message[1] -= 1;
        },
        |message| *message.last_mut().unwrap() = 0,
        |message| message[4] = b'B',
    ];
    for spoil in spoils {
        let mut honest = Honest::default();
        let report = run(ONE_PAIR, move |conn, frame| {
            let mut deeds = honest.answer(conn, frame);
            for (_, message) in deeds.iter_mut().filter(|(_, bytes)| bytes[0] >> 4 == PUBLISH) {
                spoil(message);
            }
            deeds
        });
        assert_found(&report, "came with another topic or payload than they were sent with");
    }
}

#[test]
fn a_process_that_is_none_cannot_be_measured() {
    let mut honest = Honest::default();
    let words = format!("connect -c 1 --server-pid {}", u32::MAX);
    let failed = try_run(&words, move |conn, frame| honest.answer(conn, frame)).unwrap_err();
    assert_eq!(failed.to_string(), "there is no process 4294967295 to be read under /proc");
}

/// How a run ends against a server that reads nothing once messages come; `None` is that it does not.
fn of_who_stops_reading(words: &'static str) -> Option<Result<Report, BenchError>> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut honest = Honest::default();
        let ended = try_run(words, move |conn, frame| match frame[0] >> 4 {
            PUBLISH => loop {
                thread::park();
            },
            _ => honest.answer(conn, frame),
        });
        let _ = tell.send(ended);
    });
    told.recv_timeout(Duration::from_secs(30)).ok()
}

#[test]
fn a_server_that_stops_reading_ends_the_run() {
    let words = "publish --qos 0 -c 1 -i 0 -s 64 -n 300000 --patience 300ms";
    let report = of_who_stops_reading(words).expect("it ends").unwrap();
    assert_found(&report, "bytes were never taken by the server");
    let words = "retained --qos 0 -n 300000 --settle 0 --patience 300ms";
    assert!(of_who_stops_reading(words).expect("it ends").is_err());
}

#[test]
fn a_time_limit_may_be_as_long_as_it_likes() {
    for words in ["connect -c 1", "subscribe -c 1 -n 1 -i 0", "publish -c 1 -n 1 -i 0 -s 16"] {
        let mut honest = Honest::default();
        let words = format!("{words} -t {}", u64::MAX);
        assert_sound(&run(&words, move |conn, frame| honest.answer(conn, frame)));
    }
}

/// What is published while the rest is waited for is no part of the time until it was.
#[test]
fn nothing_is_published_in_a_time_that_does_not_count() {
    let (mut honest, mut delivered) = (Honest::default(), 0);
    let words = "rate -n 1 --qos 0 --rate 1000 --warmup 0 --duration 1m --patience 300ms";
    let report = run(words, move |conn, frame| {
        delivered += usize::from(frame[0] >> 4 == PUBLISH);
        let deeds = honest.answer(conn, frame);
        if delivered > 20 { Vec::new() } else { deeds }
    });
    assert!(report.figure("published").unwrap() < 5_000.0, "{}", report.table());
}

#[test]
fn no_connection_stands_beside_those_that_end_the_sessions() {
    const SESSIONS: usize = 2;
    let mut honest = Honest::default();
    let (mut connected, mut gone, mut waiting) = (0, 0, Vec::new());
    // They are answered when those of the sessions, the publishers and the readers have gone.
    let report =
        run("offline --sessions 2 -n 1 --qos 1 -s 16 --settle 0 --patience 5s", move |conn, frame| {
            connected += usize::from(frame[0] >> 4 == CONNECT);
            gone += usize::from(frame[0] >> 4 == DISCONNECT);
            let mut deeds = honest.answer(conn, frame);
            if connected > 3 * SESSIONS {
                waiting.append(&mut deeds);
            }
            if gone >= 3 * SESSIONS { mem::take(&mut waiting) } else { deeds }
        });
    assert!(!report.table().contains("were not ended"), "{}", report.table());
}

#[test]
fn sessions_that_cannot_be_ended_hide_no_result() {
    let mut honest = Honest::default();
    let report = run("p2p -n 1 --keep-sessions --messages 4", move |conn, frame| match conn {
        0 | 1 => honest.answer(conn, frame),
        _ => vec![(conn, vec![0x20, 2, 0, 5])],
    });
    let why = "the server refused CONNECT with code 5";
    assert_found(&report, &format!("the sessions were not ended: client bench-sub-0: {why}"));
    assert!(report.figure("delivered").unwrap() > 0.0);
}

#[test]
fn a_page_that_cannot_be_written_hides_no_result() {
    let mut honest = Honest::default();
    let told =
        told("connect -c 1 --html /no/such/folder/page.html", move |conn, frame| honest.answer(conn, frame));
    let mut out = Vec::new();
    let failed = mqtt_bench::main(&told, &mut out).unwrap_err();
    assert!(failed.to_string().starts_with("cannot write /no/such/folder/page.html: "), "{failed}");
    assert!(String::from_utf8(out).unwrap().starts_with("connect\n"));
}

#[test]
fn subscribers_beside_churn_ask_for_the_qos_that_was_named() {
    let mut honest = Honest::default();
    let (tell, told) = mpsc::channel();
    let words = "churn -n 1 -c 0 --qos 1 --subscribe-qos 2 --messages 4";
    assert_sound(&run(words, move |conn, frame| {
        if frame[0] >> 4 == SUBSCRIBE {
            let _ = tell.send(frame[frame.len() - 1]);
        }
        honest.answer(conn, frame)
    }));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn what_comes_while_a_client_subscribes_is_acknowledged() {
    let mut honest = Honest::default();
    let (mut is_free, mut waiting) = (false, Vec::new());
    let words = "publish -c 1 -n 4 -i 0 -s 16 --qos 1 --sub 1 --subqos 1 --patience 300ms";
    // One unacknowledged message is all that this server allows, and there is a retained one.
    let report = run(words, move |conn, frame| {
        let mut deeds = honest.answer(conn, frame);
        if frame[0] >> 4 == SUBSCRIBE {
            deeds[0].1.extend_from_slice(b"\x33\x06\0\x01r\0\x09x");
        }
        is_free |= frame == b"\x40\x02\0\x09";
        let (mut held, others) = deeds.into_iter().partition(|(_, bytes)| bytes[0] == 0x32);
        waiting.append(&mut held);
        let freed = if is_free { mem::take(&mut waiting) } else { Vec::new() };
        [others, freed].concat()
    });
    assert_sound(&report);
}

#[test]
fn a_report_says_when_it_was_begun() {
    let (began, mut honest) = (SystemTime::now(), Honest::default());
    let report = run("connect -c 1 --hold 2s", move |conn, frame| honest.answer(conn, frame));
    let told = humantime::parse_rfc3339(&report.environment.at).unwrap();
    assert!(told < began + Duration::from_secs(1), "{}", report.environment.at);
}

#[test]
fn a_run_that_was_stopped_says_how_much_of_it_there_was() {
    let mut honest = Honest::default();
    let words = "publish -c 1 -n 100 -i 300 -s 16 --qos 1 -t 1";
    let report = run(words, move |conn, frame| honest.answer(conn, frame));
    assert_sound(&report);
    let table = report.table();
    assert!(table.contains("stopped after 1 s: ") && table.contains(" of 100 messages"), "{table}");
}

#[test]
fn the_presets_are_listed() {
    let mut out = Vec::new();
    assert!(mqtt_bench::main(&told("preset list", |_, _| Vec::new()), &mut out).unwrap());
    assert!(String::from_utf8(out).unwrap().contains("fanout-1-1K-1-1K  "));
}

#[test]
fn sessions_that_were_made_to_last_are_ended() {
    let (tell, told) = mpsc::channel();
    let mut honest = Honest::default();
    assert_sound(&run("connect -c 1 -C false", move |conn, frame| {
        if frame[0] >> 4 == CONNECT {
            let _ = tell.send(frame[9] & 2);
        }
        honest.answer(conn, frame)
    }));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 2]);
}
