//! [`Stats`]: what happened in worlds, to tell that the things which could go wrong did happen.

macro_rules! stats {
    ($($name:ident,)+) => {
        #[derive(Debug, Default, PartialEq, Eq)]
        pub(super) struct Stats { $(pub(super) $name: u64,)+ }

        impl Stats {
            pub(super) fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)+ }
            }

            pub(super) fn has_seen_everything(&self) -> bool {
                [$(self.$name,)+].iter().all(|&count| count > 0)
            }
        }
    };
}

stats! {
    arrived,
    repeated,
    retained,
    dropped,
    refused,
    taken_over,
    resumed,
    expired,
    kept_alive_out,
    kicked,
    wills,
    cuts,
}
