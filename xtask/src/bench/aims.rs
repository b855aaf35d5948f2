//! What the broker is to reach, as data, and whether a run reached it.
//!
//! "The best peer" is the best of those in the run that did the case without fault, whatever their settings.

use super::cases::{Better, Case};
use super::results::{CaseResult, Cell};
use super::table::amount;

/// What a figure should be.
#[derive(Clone, Copy)]
pub(super) enum Aim {
    /// So many times the best peer's; where the relay leaves no room for that, within so many times of the relay, and
    /// never below the best peer.
    Ahead { of_peer: f64, of_relay: f64 },
    /// At most this part of the best peer's.
    PartOfBestPeer(f64),
    /// At most this.
    AtMost(f64),
}

const THROUGHPUT: Aim = Aim::Ahead { of_peer: 1.5, of_relay: 1.1 };
const CPU_TIME: Aim = Aim::PartOfBestPeer(0.7);
const NOT_ABOVE: Aim = Aim::PartOfBestPeer(1.0);

/// Case, figure, aim.
const AIMS: &[(&str, &str, Aim)] = &[
    ("p2p-qos0", "deliveries/s", THROUGHPUT),
    ("p2p-qos0", "CPU µs each", CPU_TIME),
    ("p2p-qos1", "deliveries/s", THROUGHPUT),
    ("p2p-qos1", "CPU µs each", CPU_TIME),
    ("p2p-qos2", "deliveries/s", THROUGHPUT),
    ("p2p-qos2", "CPU µs each", CPU_TIME),
    ("fanout-qos0", "deliveries/s", THROUGHPUT),
    ("fanout-qos0", "CPU µs each", CPU_TIME),
    ("fanout-qos1", "deliveries/s", THROUGHPUT),
    ("fanout-qos1", "CPU µs each", CPU_TIME),
    ("fanin-qos1", "deliveries/s", THROUGHPUT),
    ("fanin-qos1", "CPU µs each", CPU_TIME),
    ("rate", "p50 µs", NOT_ABOVE),
    ("rate", "p99 µs", NOT_ABOVE),
    ("rate", "p99.9 µs", Aim::AtMost(2000.0)),
    ("rate", "CPU µs each", CPU_TIME),
    ("connect", "clients/s", THROUGHPUT),
    ("connect", "CPU µs each", NOT_ABOVE),
    ("idle", "bytes each", Aim::AtMost(1024.0)),
    ("idle", "bytes each, subscribed", Aim::AtMost(1536.0)),
    ("offline", "stored/s", THROUGHPUT),
    ("offline", "drained/s", THROUGHPUT),
    // Topic (15 or 16 bytes) and payload (64) and at most 64 more.
    ("offline", "bytes a queued message", Aim::AtMost(16.0 + 64.0 + 64.0)),
    ("subscriptions", "deliveries/s", THROUGHPUT),
    ("subscriptions", "CPU µs each", CPU_TIME),
    ("subscriptions", "filters/s", THROUGHPUT),
    ("subscriptions", "bytes a subscription", Aim::AtMost(250.0)),
    ("beside-subscriptions", "times", Aim::AtMost(1.2)),
    // "Nothing measurable": more than this is no noise any more.
    ("beside-idle", "times", Aim::AtMost(1.1)),
    ("memory-returned", "times", Aim::AtMost(1.1)),
    ("idle-tls", "bytes each", Aim::AtMost(6.0 * 1024.0)),
    ("idle-ws", "bytes each", Aim::AtMost(4.0 * 1024.0)),
    ("tls", "times", Aim::AtMost(1.6)),
];

/// Figures that nothing is asked of: they say what an aim leaves out. Messages to any of a million subscriptions find
/// nothing of them in a cache.
#[cfg(test)]
const WITHOUT_AIM: &[(&str, &str)] = &[("growth", "times")];

/// The verdict on one figure.
pub(super) struct Judgement {
    pub(super) met: bool,
    /// The figure that decided, and what it should be.
    pub(super) because: String,
}

/// `None` where there is no aim, or nothing to judge it by.
pub(super) fn judge(case: &Case, metric: &str, result: &CaseResult) -> Option<Judgement> {
    let (.., aim) = AIMS.iter().find(|(of, figure, _)| *of == case.name && *figure == metric)?;
    let cell = result.cell(super::servers::GMQTT, false)?;
    let failed = |because: &str| Some(Judgement { met: false, because: because.into() });
    if !cell.is_sound() {
        return failed("gmqtt is at fault");
    }
    let Some(ours) = cell.median(metric) else { return failed("gmqtt has no figure") };
    match *aim {
        Aim::AtMost(most) => Some(Judgement {
            met: ours <= most,
            because: format!("{} (at most {})", amount(ours), amount(most)),
        }),
        Aim::PartOfBestPeer(most) => {
            let (peer, best) = best_peer(result, metric, Better::Lower)?;
            let part = ours / best;
            Some(Judgement { met: part <= most, because: format!("{part:.2} x {peer} (at most {most})") })
        }
        Aim::Ahead { of_peer, of_relay } => {
            let (peer, best) = best_peer(result, metric, Better::Higher)?;
            let ahead = ours / best;
            let mut because = format!("{ahead:.2} x {peer} (at least {of_peer})");
            let mut met = ahead >= of_peer;
            if let Some(relay) =
                result.relay(metric).filter(|relay| !met && relay / of_relay < best * of_peer)
            {
                met = ours >= relay / of_relay && ahead >= 1.0;
                because = format!(
                    "{:.2} x relay (at least {:.2}), {ahead:.2} x {peer}",
                    ours / relay,
                    1.0 / of_relay
                );
            }
            Some(Judgement { met, because })
        }
    }
}

/// The best of the peers that did it without fault, and its figure.
fn best_peer(result: &CaseResult, metric: &str, better: Better) -> Option<(String, f64)> {
    let figures = result.sound_peers().filter_map(|cell: &Cell| Some((cell.label(), cell.median(metric)?)));
    match better {
        Better::Higher => figures.max_by(|a, b| a.1.total_cmp(&b.1)),
        Better::Lower => figures.min_by(|a, b| a.1.total_cmp(&b.1)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::super::results::tests::one_case;
    use super::*;

    fn judged(case: &str, metric: &str, cells: &[(&str, f64, Option<&str>)]) -> Option<(bool, String)> {
        let results = one_case(case, metric, cells);
        let judgement = judge(Case::find(case).unwrap(), metric, &results.cases[0])?;
        Some((judgement.met, judgement.because))
    }

    #[test]
    fn every_figure_has_an_aim_unless_it_says_so_and_every_aim_a_figure() {
        for (case, figure, _) in AIMS {
            let case = Case::find(case).unwrap();
            assert!(case.metrics.iter().any(|metric| metric.name == *figure), "{} {figure}", case.name);
        }
        for case in CASES {
            for metric in case.metrics {
                let aims = AIMS.iter().filter(|(of, figure, _)| *of == case.name && *figure == metric.name);
                let wanted = !WITHOUT_AIM.contains(&(case.name, metric.name));
                assert_eq!(aims.count(), usize::from(wanted), "{} {}", case.name, metric.name);
            }
        }
    }

    #[test]
    fn throughput_is_judged_by_the_best_sound_peer() {
        let all = [("gmqtt", 150.0, None), ("a", 100.0, None), ("b", 140.0, Some("1 lost"))];
        assert_eq!(
            judged("p2p-qos0", "deliveries/s", &all).unwrap(),
            (true, "1.50 x a (at least 1.5)".into())
        );
        let behind = [("gmqtt", 149.0, None), ("a", 100.0, None)];
        assert!(!judged("p2p-qos0", "deliveries/s", &behind).unwrap().0);
        assert!(judged("p2p-qos0", "deliveries/s", &[("gmqtt", 1.0, None)]).is_none());
    }

    #[test]
    fn where_the_relay_leaves_no_room_it_is_the_measure() {
        let near = [("gmqtt", 120.0, None), ("relay", 130.0, None), ("a", 100.0, None)];
        assert!(judged("p2p-qos0", "deliveries/s", &near).unwrap().0);
        let far = [("gmqtt", 110.0, None), ("relay", 130.0, None), ("a", 100.0, None)];
        assert!(!judged("p2p-qos0", "deliveries/s", &far).unwrap().0);
        let below_the_peer = [("gmqtt", 120.0, None), ("relay", 130.0, None), ("a", 121.0, None)];
        assert!(!judged("p2p-qos0", "deliveries/s", &below_the_peer).unwrap().0);
        let with_room = [("gmqtt", 120.0, None), ("relay", 500.0, None), ("a", 100.0, None)];
        assert!(!judged("p2p-qos0", "deliveries/s", &with_room).unwrap().0);
    }

    #[test]
    fn cost_is_judged_by_the_cheapest_peer_or_by_a_number() {
        let cells = [("gmqtt", 7.0, None), ("a", 10.0, None), ("b", 30.0, None)];
        assert!(judged("p2p-qos0", "CPU µs each", &cells).unwrap().0);
        assert!(!judged("p2p-qos0", "CPU µs each", &[("gmqtt", 8.0, None), ("a", 10.0, None)]).unwrap().0);
        assert!(!judged("idle", "bytes each", &[("gmqtt", 1025.0, None)]).unwrap().0);
        assert!(!judged("idle", "bytes each", &[("gmqtt", 9.0, Some("2 lost"))]).unwrap().0);
    }

    #[test]
    fn a_case_that_we_fail_is_not_met_whatever_figures_there_are() {
        let verdict = |fault| {
            let mut results = one_case("idle", "bytes each", &[("gmqtt", 9.0, fault)]);
            results.cases[0].cells[0].rounds[0].figures.clear();
            judge(Case::find("idle").unwrap(), "bytes each", &results.cases[0]).map(|verdict| verdict.because)
        };
        assert_eq!(verdict(Some("no end after 120 s")).as_deref(), Some("gmqtt is at fault"));
        assert_eq!(verdict(None).as_deref(), Some("gmqtt has no figure"));
    }
}
