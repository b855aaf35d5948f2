//! [`RefusalReason`]: why a connection or a CONNECT was not let in; the closed list that log and counters share.

use std::fmt;

use mqtt_codec::ConnectRefusal;

use crate::session::AttachRefusal;

macro_rules! refusal_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal: $words:literal,)+) => {
        /// Why a connection or a CONNECT was not let in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RefusalReason { $($(#[doc = $doc])+ $variant,)+ }

        impl RefusalReason {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl fmt::Display for RefusalReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $words,)+ })
            }
        }
    };
}

refusal_reasons! {
    /// [`crate::Limits::max_connections`].
    TooManyConnections = "too_many_connections": "the broker has its maximum of connections",
    /// [`crate::ListenerLimits::max_connections`], or [`crate::Limits::max_connections_per_listener`].
    TooManyOfListener = "too_many_of_listener": "its listener has its maximum of connections",
    /// [`crate::Transport::proxy_protocol`] names its address not.
    NotAProxy = "not_a_proxy": "its listener is for trusted proxies alone",
    /// [`crate::Limits::max_connections_per_address`].
    TooManyFromAddress = "too_many_from_address": "its address has its maximum of connections",
    /// [`crate::Limits::max_accept_rate_per_address`].
    TooFastFromAddress = "too_fast_from_address": "its address opens connections too fast",
    /// [`crate::Limits::max_connections_per_user`].
    TooManyOfUser = "too_many_of_user": "its user has his maximum of connections",
    /// [`crate::Limits::max_client_id_len`].
    ClientIdTooLong = "client_id_too_long": "its client identifier is too long",
    /// [`crate::Limits::max_user_name_len`].
    UserNameTooLong = "user_name_too_long": "its user name is too long",
    /// [`crate::Limits::max_sessions`].
    TooManySessions = "too_many_sessions": "the broker has its maximum of sessions",
    /// [`crate::Broker::shutdown`].
    ShutDown = "shut_down": "the broker has shut down",
    /// [`crate::Broker::ban`].
    Banned = "banned": "its address, client identifier or user is banned",
    /// It connected more often than [`crate::Limits::flapping_connects`], and is banned from now on.
    Flapping = "flapping": "it connects again and again, and is banned for a while",
    /// [`crate::Hooks::on_accept`] said no.
    Hook = "hook": "a hook refused it",
}

impl RefusalReason {
    /// What a CONNECT is answered.
    pub(crate) fn return_code(self) -> ConnectRefusal {
        match self {
            Self::ClientIdTooLong => ConnectRefusal::IdentifierRejected, // [MQTT-3.1.3-9]
            Self::UserNameTooLong => ConnectRefusal::BadUserNameOrPassword,
            Self::Banned | Self::Flapping | Self::Hook => ConnectRefusal::NotAuthorized,
            _ => ConnectRefusal::ServerUnavailable,
        }
    }
}

impl From<AttachRefusal> for RefusalReason {
    fn from(refusal: AttachRefusal) -> Self {
        match refusal {
            AttachRefusal::TooManySessions => Self::TooManySessions,
            AttachRefusal::ShutDown => Self::ShutDown,
        }
    }
}
