//! Servers that hand on something else than what they should, or to somebody else: the generator must say so, and must
//! not call a fault what the standard allows.

mod played;
#[path = "played/server.rs"]
mod server;

use played::{Program, read_frame};
use server::{Honest, PUBLISH, SUBSCRIBE, assert_found, assert_sound, run, topic, try_run};

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
