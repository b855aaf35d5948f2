//! The broker that is judged: the one at `MQTT_ADDR`, or one of our own that lives as long as the test process.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{OnceLock, mpsc};
use std::thread;

use mqtt_broker::{Broker, Limits};

/// Where the broker listens.
pub(crate) fn broker() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| match std::env::var("MQTT_ADDR") {
        Ok(given) => {
            let found = given.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
            found.unwrap_or_else(|| panic!("MQTT_ADDR is {given:?}, not an address such as 127.0.0.1:1883"))
        }
        Err(_) => start(),
    })
}

/// Whether the broker is ours: then what the standard leaves open has the answer that our documentation gives.
pub(crate) fn is_ours() -> bool {
    std::env::var_os("MQTT_ADDR").is_none()
}

/// Starts a broker as it comes, but that clients may publish to topics that begin with `$` and have names of any length, on a thread that serves until the process ends.
fn start() -> SocketAddr {
    let (ready, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut limits = Limits::default();
            limits.allow_dollar_topics = true;
            (limits.max_client_id_len, limits.max_user_name_len) = (65_535, 65_535);
            let broker = Broker::builder().limits(limits).build();
            let address = broker.listen("127.0.0.1:0").await.expect("a free port");
            ready.send(address).expect("somebody waits for the address");
            std::future::pending::<()>().await;
        });
    });
    address.recv().expect("the broker starts")
}
