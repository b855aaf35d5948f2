//! What tests need that play a server to the generator.

use std::{
    io::{self, Read},
    net::TcpStream,
};

use clap::Parser;
use mqtt_bench::BenchArgs;

/// The generator's command line.
#[derive(Parser)]
pub(crate) struct Program {
    #[command(flatten)]
    pub(crate) bench: BenchArgs,
}

pub(crate) fn read_frame(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    stream.read_exact(&mut frame)?;
    assert!(frame[1] < 0x80, "the frames of these tests are short");
    frame.resize(2 + usize::from(frame[1]), 0);
    stream.read_exact(&mut frame[2..])?;
    Ok(frame)
}
