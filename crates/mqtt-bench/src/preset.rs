//! The cases of the open MQTT benchmark suite by their names: what they mean, and what they become on a small machine.
//!
//! Their traffic is QoS 1 with 16 bytes of payload at a fixed rate. Sized down, clients and messages are divided by one
//! factor; what a single client does, and how fast connections are made, stay as they are.

use std::fmt;

use crate::BenchError;

/// One case at full size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    pub(crate) case: Case,
    /// What suits two processors and 20,000 descriptors.
    default_scale: f64,
}

/// What a case does. Rates are messages published a second by all publishers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Case {
    Connect { clients: usize, per_second: f64 },
    FanOut { publishers: usize, subscribers: usize, rate: f64 },
    Pairs { pairs: usize, rate: f64 },
    Shared { publishers: usize, subscribers: usize, rate: f64 },
}

pub(crate) const PRESETS: [Preset; 8] = [
    Preset {
        name: "conn-tcp-10K-100",
        case: Case::Connect { clients: 10_000, per_second: 100.0 },
        default_scale: 10.0,
    },
    Preset {
        name: "conn-tcp-1M-5K",
        case: Case::Connect { clients: 1_000_000, per_second: 5000.0 },
        default_scale: 100.0,
    },
    Preset {
        name: "fanout-1-1K-1-1K",
        case: Case::FanOut { publishers: 1, subscribers: 1000, rate: 1.0 },
        default_scale: 1.0,
    },
    Preset {
        name: "fanout-5-1000-5-250K",
        case: Case::FanOut { publishers: 5, subscribers: 1000, rate: 250.0 },
        default_scale: 10.0,
    },
    Preset { name: "p2p-1K-1K-1K-1K", case: Case::Pairs { pairs: 1000, rate: 1000.0 }, default_scale: 1.0 },
    Preset {
        name: "p2p-50K-50K-50K-50K",
        case: Case::Pairs { pairs: 50_000, rate: 50_000.0 },
        default_scale: 10.0,
    },
    Preset {
        name: "sharedsub-1K-5-1K-1K",
        case: Case::Shared { publishers: 1000, subscribers: 5, rate: 1000.0 },
        default_scale: 1.0,
    },
    Preset {
        name: "sharedsub-50K-500-50K-50K",
        case: Case::Shared { publishers: 50_000, subscribers: 500, rate: 50_000.0 },
        default_scale: 10.0,
    },
];

/// A line for each.
pub(crate) fn list() -> String {
    PRESETS.map(|preset| format!("{:<26} {}\n", preset.name, preset.case)).concat()
}

/// The preset of this name, and the factor to divide by.
pub(crate) fn find(name: &str, scale: Option<f64>) -> Result<(Preset, f64), BenchError> {
    let preset =
        PRESETS.into_iter().find(|preset| preset.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names = PRESETS.map(|preset| preset.name).join(", ");
            BenchError::Usage(format!("there is no preset {name:?}; there are {names}"))
        })?;
    let scale = scale.unwrap_or(preset.default_scale);
    if scale >= 1.0 {
        Ok((preset, scale))
    } else {
        Err(BenchError::Usage(format!("a preset is divided by 1 or more, not by {scale}")))
    }
}

impl Case {
    /// The same case with clients and messages divided by `scale`; nothing becomes less than one.
    pub(crate) fn divided(self, scale: f64) -> Self {
        let few = |count: usize| ((count as f64 / scale).round() as usize).max(1);
        match self {
            Self::Connect { clients, per_second } => Self::Connect { clients: few(clients), per_second },
            // The rate is that of the publishers, which stay; the deliveries go down with the subscribers.
            Self::FanOut { publishers, subscribers, rate } => {
                Self::FanOut { publishers, subscribers: few(subscribers), rate }
            }
            Self::Pairs { pairs, rate } => Self::Pairs { pairs: few(pairs), rate: rate / scale },
            Self::Shared { publishers, subscribers, rate } => Self::Shared {
                publishers: few(publishers),
                subscribers: few(subscribers),
                rate: rate / scale,
            },
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { clients, per_second } => write!(f, "{clients} clients, {per_second} a second"),
            Self::FanOut { publishers, subscribers, rate } => {
                write!(
                    f,
                    "{publishers} publishers, {rate} messages a second to each of {subscribers} subscribers"
                )
            }
            Self::Pairs { pairs, rate } => write!(f, "{pairs} pairs, {rate} messages a second in all"),
            Self::Shared { publishers, subscribers, rate } => {
                write!(
                    f,
                    "{publishers} publishers, {rate} messages a second shared by {subscribers} subscribers"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_found_by_its_name_and_has_a_factor() {
        let (preset, scale) = find("fanout-5-1000-5-250k", None).unwrap();
        assert_eq!(preset.case.divided(scale), Case::FanOut { publishers: 5, subscribers: 100, rate: 250.0 });
        let (preset, scale) = find("sharedsub-50K-500-50K-50K", Some(100.0)).unwrap();
        assert_eq!(preset.case.divided(scale), Case::Shared { publishers: 500, subscribers: 5, rate: 500.0 });
    }

    #[test]
    fn what_is_not_a_preset_is_refused() {
        assert!(find("fanout", None).unwrap_err().to_string().contains("p2p-1K-1K-1K-1K"));
        assert!(find("p2p-1K-1K-1K-1K", Some(0.5)).is_err());
    }

    #[test]
    fn names_say_what_the_cases_do() {
        for preset in PRESETS {
            match preset.case {
                Case::FanOut { subscribers, rate, .. } => {
                    let last = preset.name.rsplit('-').next().unwrap().replace('K', "000");
                    assert_eq!(
                        last.parse::<usize>().unwrap(),
                        rate as usize * subscribers,
                        "{}",
                        preset.name
                    );
                }
                Case::Connect { .. } | Case::Pairs { .. } | Case::Shared { .. } => {}
            }
            assert_eq!(preset.case.divided(1.0), preset.case);
        }
    }
}
