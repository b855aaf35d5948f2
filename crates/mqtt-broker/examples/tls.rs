//! TLS, and clients that are known by their certificates.
//!
//! Try `cargo run -p mqtt-broker --example tls -- 127.0.0.1:8883 server.pem server.key`; with a fourth argument, the
//! certificate of the clients' authority, every client has to show a certificate of that authority, whose common name is its
//! user name. `docs/operations/tls.md` makes all four files with openssl. Then
//! `mosquitto_sub -p 8883 --cafile authority.pem --cert anna.pem --key anna.key -t '#'`.

use std::{env, error::Error, time::Duration};

use mqtt_broker::{
    Broker, CertificateField, ClientCertificates, ConnectDecision, Tls, TlsOptions, Transport,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |what| arguments.next().ok_or(format!("missing argument: {what}"));
    let address = next("address")?;
    let mut options = TlsOptions::new(next("certificate")?, next("private key")?);
    if let Ok(authority) = next("authority of the clients") {
        options.client_certificates = ClientCertificates::Required;
        options.client_authorities = vec![authority.into()];
        options.user_name = Some(CertificateField::CommonName);
    }
    let tls = Tls::load(options)?;

    let broker = Broker::builder()
        .on_connect(|request| async move {
            let user = request.certificate_user_name.as_deref().unwrap_or("somebody without a certificate");
            println!("{} is {user}", request.client.client_id);
            ConnectDecision::Accept
        })
        .build();
    println!("listening on {}", broker.listen_with(&address, Transport::tcp().tls(&tls)).await?);

    // After a renewal of the certificate: `tls.reload()?`. Connections that are there stay.
    tokio::signal::ctrl_c().await?;
    Ok(broker.shutdown(Duration::from_secs(5)).await?)
}
