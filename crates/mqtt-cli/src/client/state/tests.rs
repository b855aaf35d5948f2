//! A client's side of the protocol, packet by packet.
