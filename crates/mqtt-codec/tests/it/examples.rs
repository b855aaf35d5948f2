//! The packet dumper does what its first lines say. The clients are tried by mqtt-broker's tests: they need a broker.

use std::{
    env,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// The example's program, in the directory beside that of this test. `cargo test --examples` makes tests of examples, so it
/// may still have to be built.
fn executable(name: &str) -> PathBuf {
    let own = env::current_exe().expect("the path of this test");
    let profile = own.ancestors().nth(2).expect("target/<profile>/deps/it");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--example", name]);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo").success(), "{name} does not build");
    profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

fn dump(bytes: &[u8]) -> Output {
    let mut process = Command::new(executable("dump"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example");
    process.stdin.take().expect("a pipe").write_all(bytes).expect("the packets");
    process.wait_with_output().expect("its end")
}

#[test]
fn dump_prints_a_packet_a_line() {
    let output = dump(b"\x32\x09\0\x03a/b\0\x01hi\xc0\0");
    let lines = "       0  PUBLISH (11 bytes) topic \"a/b\", QoS 1, retain false, payload of 2 bytes\n      11  PINGREQ (2 bytes)\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
    assert!(output.status.success());
}

#[test]
fn dump_says_where_bytes_are_no_packet() {
    for (bytes, what) in
        [(&b"\xc0\0\xf0\0"[..], "2  "), (&b"\xc0\0\x30\x09\0"[..], "2  a packet that is cut off")]
    {
        let output = dump(bytes);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(what), "{errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "       0  PINGREQ (2 bytes)\n");
    }
}
