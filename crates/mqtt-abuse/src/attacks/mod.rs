//! The attacks, a file for each layer that they aim at.

mod connections;
mod handshakes;
mod messages;
mod packets;

use crate::Attack;

/// All of them.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "slowloris-connect",
        about: "500 connections that send a CONNECT byte by byte, 500 bytes a second together",
        act: connections::slowloris,
    },
    Attack {
        name: "connect-flood",
        about: "500 connections a second, each a client of its own that is soon gone without DISCONNECT",
        act: connections::flood,
    },
    Attack {
        name: "take-over-loop",
        about: "300 connections a second with one client identifier",
        act: connections::take_over,
    },
    Attack {
        name: "tls-handshake-flood",
        about: "100 TLS handshakes a second that are begun and never finished, 200 at a time",
        act: handshakes::tls,
    },
    Attack {
        name: "websocket-upgrade-flood",
        about: "300 upgrades a second, every other one never finished, 200 at a time",
        act: handshakes::websocket,
    },
    Attack {
        name: "random-bytes",
        about: "1 MiB/s of random bytes, half of it by clients that are connected",
        act: packets::random_bytes,
    },
    Attack {
        name: "huge-remaining-length",
        about: "300 clients that announce the longest packet they may and send it byte by byte, or a longer one",
        act: packets::huge_lengths,
    },
    Attack {
        name: "ping-flood",
        about: "4 clients that together send 200,000 PINGREQ a second; 2 of them read no answer",
        act: packets::pings,
    },
    Attack {
        name: "subscription-bomb",
        about: "8 clients with 1,024 filters of + and x each, 10 levels deep, and 50 messages a second that match all",
        act: messages::subscription_bomb,
    },
    Attack {
        name: "retained-flood",
        about: "2,000 retained messages of 1 KiB a second, each to a new topic",
        act: messages::retained,
    },
    Attack {
        name: "slow-reader",
        about: "10 subscribers that read nothing, and 500 messages of 4 KiB a second for them",
        act: messages::slow_readers,
    },
    Attack {
        name: "unreleased-qos2",
        about: "2,000 QoS 2 messages a second that are never released",
        act: messages::unreleased,
    },
];
