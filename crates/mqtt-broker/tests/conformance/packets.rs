//! Control packets of MQTT 3.1.1 as plain bytes, laid out by hand from chapters 2 and 3 of the standard, the illegal ones
//! included. Not a codec: nothing here is shared with the broker under test, or the two could be wrong together.

/// A PINGREQ.
pub(crate) const PINGREQ: &[u8] = &[0xC0, 0];
/// A PINGRESP.
pub(crate) const PINGRESP: &[u8] = &[0xD0, 0];
/// A DISCONNECT.
pub(crate) const DISCONNECT: &[u8] = &[0xE0, 0];

/// A whole packet: `head` (type and flags), the remaining length in its shortest form, `body`.
pub(crate) fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    let mut left = body.len();
    loop {
        let low = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// A string or binary field: two bytes of length, then the bytes, which need not be UTF-8.
///
/// # Panics
/// If `bytes` are more than 65,535.
#[track_caller]
pub(crate) fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u16::try_from(bytes.len()).expect("a field is at most 65,535 bytes long");
    [&length.to_be_bytes(), bytes].concat()
}

/// A CONNECT. Its flags follow from the fields that are there; `raw_connect` is for those that lie.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) client_id: Vec<u8>,
    pub(crate) clean_session: bool,
    pub(crate) keep_alive_secs: u16,
    will: Option<Will>,
    user_name: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

/// The will of a CONNECT.
#[derive(Clone)]
pub(crate) struct Will {
    topic: Vec<u8>,
    message: Vec<u8>,
    qos: u8,
    retain: bool,
}

impl Connect {
    /// A clean session under `client_id`, no will, no keep alive.
    pub(crate) fn new(client_id: impl AsRef<[u8]>) -> Self {
        Self {
            client_id: client_id.as_ref().to_vec(),
            clean_session: true,
            keep_alive_secs: 0,
            will: None,
            user_name: None,
            password: None,
        }
    }

    /// A session that outlives its connection.
    pub(crate) fn persistent(client_id: impl AsRef<[u8]>) -> Self {
        Self { clean_session: false, ..Self::new(client_id) }
    }

    pub(crate) fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive_secs = secs;
        self
    }

    pub(crate) fn will(mut self, topic: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Self {
        let (topic, message) = (topic.as_ref().to_vec(), message.as_ref().to_vec());
        self.will = Some(Will { topic, message, qos: 0, retain: false });
        self
    }

    pub(crate) fn will_qos(mut self, qos: u8) -> Self {
        self.will = self.will.map(|will| Will { qos, ..will });
        self
    }

    pub(crate) fn will_retain(mut self) -> Self {
        self.will = self.will.map(|will| Will { retain: true, ..will });
        self
    }

    pub(crate) fn user_name(mut self, user_name: impl AsRef<[u8]>) -> Self {
        self.user_name = Some(user_name.as_ref().to_vec());
        self
    }

    pub(crate) fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean_session) << 1;
        let mut payload = field(&self.client_id);
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
            payload.extend(field(&will.topic));
            payload.extend(field(&will.message));
        }
        if let Some(user_name) = &self.user_name {
            flags |= 0x80;
            payload.extend(field(user_name));
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            payload.extend(field(password));
        }
        raw_connect("MQTT", 4, flags, self.keep_alive_secs, &payload)
    }
}

/// A CONNECT of any protocol name, level, flags and payload.
pub(crate) fn raw_connect(name: &str, level: u8, flags: u8, keep_alive_secs: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = keep_alive_secs.to_be_bytes();
    packet(0x10, &[&field(name)[..], &[level, flags, high, low], payload].concat())
}

/// A PUBLISH, sent or received. `id` is 0 at QoS 0 and then not part of the bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: Vec<u8>,
    pub(crate) id: u16,
    pub(crate) payload: Vec<u8>,
}

impl Publish {
    /// At QoS 0.
    pub(crate) fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        let (topic, payload) = (topic.as_ref().to_vec(), payload.as_ref().to_vec());
        Self { dup: false, qos: 0, retain: false, topic, id: 0, payload }
    }

    pub(crate) fn qos(self, qos: u8, id: u16) -> Self {
        Self { qos, id, ..self }
    }

    pub(crate) fn retain(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn dup(self) -> Self {
        Self { dup: true, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let head = 0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let mut body = field(&self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        body.extend_from_slice(&self.payload);
        packet(head, &body)
    }

    /// The payload as text, for messages that tests compare by it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

impl std::fmt::Debug for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let payload: String = self.text().chars().take(40).collect();
        let topic: String = String::from_utf8_lossy(&self.topic).chars().take(60).collect();
        let Self { dup, qos, retain, id, .. } = self;
        write!(f, "PUBLISH({topic:?} qos {qos} id {id} dup {dup} retain {retain} {payload:?})")
    }
}

pub(crate) fn connack(session_present: bool, code: u8) -> Vec<u8> {
    packet(0x20, &[u8::from(session_present), code])
}

pub(crate) fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

pub(crate) fn pubrec(id: u16) -> Vec<u8> {
    packet(0x50, &id.to_be_bytes())
}

pub(crate) fn pubrel(id: u16) -> Vec<u8> {
    packet(0x62, &id.to_be_bytes())
}

pub(crate) fn pubcomp(id: u16) -> Vec<u8> {
    packet(0x70, &id.to_be_bytes())
}

pub(crate) fn subscribe<F: AsRef<[u8]>>(id: u16, filters: &[(F, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        body.extend(field(filter));
        body.push(*qos);
    }
    packet(0x82, &body)
}

pub(crate) fn suback(id: u16, codes: &[u8]) -> Vec<u8> {
    packet(0x90, &[&id.to_be_bytes(), codes].concat())
}

pub(crate) fn unsubscribe<F: AsRef<[u8]>>(id: u16, filters: &[F]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for filter in filters {
        body.extend(field(filter));
    }
    packet(0xA2, &body)
}

pub(crate) fn unsuback(id: u16) -> Vec<u8> {
    packet(0xB0, &id.to_be_bytes())
}
