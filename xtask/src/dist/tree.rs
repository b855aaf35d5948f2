//! The files of a release, laid out as they are installed below `/`.

use crate::process::{self, program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where each shell looks for completions, and what it calls them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/gmqtt"),
    ("zsh", "usr/share/zsh/vendor-completions/_gmqtt"),
    ("fish", "usr/share/fish/vendor_completions.d/gmqtt.fish"),
];

/// Files of the repository that go in as they are.
const COPIES: [(&str, &str); 6] = [
    ("crates/mqtt-cli/packaging/gmqtt.service", "usr/lib/systemd/system/gmqtt.service"),
    ("crates/mqtt-cli/packaging/gmqtt.sysusers", "usr/lib/sysusers.d/gmqtt.conf"),
    ("LICENSE-MIT", "usr/share/doc/gmqtt/LICENSE-MIT"),
    ("LICENSE-APACHE", "usr/share/doc/gmqtt/LICENSE-APACHE"),
    ("CHANGELOG.md", "usr/share/doc/gmqtt/CHANGELOG.md"),
    ("crates/mqtt-cli/packaging/README.md", "usr/share/doc/gmqtt/README.md"),
];

/// Lays the tree out beside the binary that cargo has left in `products`, and returns where it is.
///
/// It is there, and not in target/dist, because that is where cargo-deb looks for what is not in the repository.
pub(super) fn plant(products: &Path) -> Result<PathBuf> {
    let root = products.join("dist");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot clear {}", root.display()))?;
    }
    let binary = place(&root, "usr/bin/gmqtt")?;
    process::run(program("strip").arg("-o").arg(&binary).arg(products.join("gmqtt")))?;
    for (shell, path) in COMPLETIONS {
        write(&root, path, &printed(&binary, &["completions", shell])?)?;
    }
    write(&root, "etc/gmqtt/gmqtt.toml", &printed(&binary, &["config", "example"])?)?;
    for (from, to) in COPIES {
        fs::copy(process::root().join(from), place(&root, to)?).with_context(|| from.to_owned())?;
    }
    manual_pages(&binary, &root.join("usr/share/man/man1"))?;
    Ok(root)
}

fn manual_pages(binary: &Path, folder: &Path) -> Result<()> {
    process::run(program(binary).arg("man").arg(folder))?;
    process::run(program("gzip").args(["-9n", "--recursive"]).arg(folder))
}

fn printed(binary: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(binary).args(arguments).output()?;
    if !output.status.success() {
        bail!("gmqtt {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

fn write(root: &Path, path: &str, content: &[u8]) -> Result<()> {
    fs::write(place(root, path)?, content).with_context(|| path.to_owned())
}

/// The path below the root, with the folders above it made.
fn place(root: &Path, path: &str) -> Result<PathBuf> {
    let place = root.join(path);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> String {
        fs::read_to_string(process::root().join(path)).unwrap()
    }

    /// What cargo-deb takes is listed a second time, in the manifest: a file that is not there would be missing in the package.
    #[test]
    fn the_package_takes_every_file_of_the_tree() {
        let manifest: toml::Table = read("crates/mqtt-cli/Cargo.toml").parse().unwrap();
        let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
        let taken: Vec<&str> = assets
            .iter()
            .map(|asset| asset[0].as_str().unwrap().strip_prefix("target/release/dist/").unwrap())
            .collect();
        let placed = COMPLETIONS.map(|(_, path)| path).into_iter().chain(COPIES.map(|(_, path)| path));
        for path in placed.chain(["usr/bin/gmqtt", "etc/gmqtt/gmqtt.toml", "usr/share/man/man1/gmqtt.1.gz"]) {
            let covers = |asset: &&str| match asset.split_once('*') {
                Some((before, after)) => path.starts_with(before) && path.ends_with(after),
                None => *asset == path,
            };
            // cargo-deb takes the unit and the file for sysusers by itself.
            assert!(path.starts_with("usr/lib/") || taken.iter().any(covers), "{path}");
        }
    }

    #[test]
    fn the_container_is_built_of_what_is_there_with_the_compiler_that_is_promised() {
        let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
        let promised = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
        let dockerfile = read("crates/mqtt-cli/packaging/Dockerfile");
        assert!(dockerfile.contains(&format!("FROM rust:{promised}-")), "{promised}");
        let copied =
            dockerfile.lines().filter_map(|line| line.strip_prefix("COPY crates/")?.split(' ').next());
        for path in copied.map(|path| format!("crates/{path}")).chain([
            "crates/mqtt-cli/packaging/Dockerfile".to_owned(),
            "crates/mqtt-cli/packaging/Dockerfile.dockerignore".to_owned(),
        ]) {
            assert!(process::root().join(&path).is_file(), "{path}");
        }
        let compose = read("crates/mqtt-cli/packaging/compose.yaml");
        assert!(
            compose.contains("context: ../../..\n")
                && compose.contains("dockerfile: crates/mqtt-cli/packaging/Dockerfile\n")
        );
    }
}
