//! The example does what its first lines say.

use std::{
    env,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
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

#[test]
fn matching_names_the_filters_of_each_topic() {
    let mut process = Command::new(executable("matching"))
        .args(["room/+/light", "#"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example");
    let topics = b"room/1/light\nroom/2/door\n$SYS/uptime\n";
    process.stdin.take().expect("a pipe").write_all(topics).expect("the topics");
    let output = process.wait_with_output().expect("its end");
    let lines = "room/1/light: #, room/+/light\nroom/2/door: #\n$SYS/uptime: -\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
    assert!(output.status.success());
}
